"""From a settled job to the body of A1111's API, its extensions and scripts included."""
