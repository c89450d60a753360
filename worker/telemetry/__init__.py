"""Telemetry: logs, metrics, phases and progress."""
