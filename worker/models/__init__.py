"""Model files: what is known, what is on the volume, how it gets there and who may remove it."""
