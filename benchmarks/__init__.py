"""What the worker costs, each figure against a named alternative in the same run: ``python -m benchmarks [NAME]``."""
