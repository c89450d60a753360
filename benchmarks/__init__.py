"""Costs of the worker, each figure against a named alternative in the same run: ``python -m benchmarks [NAME]``."""
