"""Usual ways to serve jobs, for comparison: as simple as can be, and fair: nothing is slowed down."""
