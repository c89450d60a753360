"""Forms in which other programs send jobs: recognised by shape, read by one contract, answered in their shape."""
