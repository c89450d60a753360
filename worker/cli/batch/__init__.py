"""The command line of batches."""
