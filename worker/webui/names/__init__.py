"""Names as the running WebUI lists them, and the names that jobs use for the same things."""
