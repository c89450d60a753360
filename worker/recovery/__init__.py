"""Recovery from failed generations: decided by pure functions, carried out by `supervisor` and `retry`."""
