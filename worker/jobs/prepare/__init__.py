"""Preparation of a job: its names resolved, its models in place, its request built."""
