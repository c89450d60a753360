"""Programs that write this repository's documentation; no part of the worker."""
