"""``worker faces …``: references of persons."""
