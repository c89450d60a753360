"""From plain JSON to a typed job, with every mistake at its path."""
