"""The command line of the result cache."""
