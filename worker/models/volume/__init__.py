"""The models on the volume: what is there, what is in use, and what may be removed."""
