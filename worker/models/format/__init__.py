"""Model files as such: their header, what they are and what fits together."""
