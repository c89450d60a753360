"""One module per file format: walk its structure, find its size and its infotext."""
