"""Model files, and the checkpoint in memory."""
