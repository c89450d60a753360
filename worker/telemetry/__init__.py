"""What people and machines can see of the worker: logs, phases, progress."""
