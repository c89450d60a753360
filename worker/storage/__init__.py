"""Object stores: for results, for models and for clients' own pictures."""
