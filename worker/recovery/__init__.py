"""What is done when a generation goes wrong: decided by pure functions, carried out by `keeper` and `making`."""
