"""Copies of checkpoints on a local disk, and reading ahead."""
