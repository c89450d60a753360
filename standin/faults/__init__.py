"""Faults that can be switched on, and what they spoil."""
