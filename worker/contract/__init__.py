"""What clients may send and what they get: types, rules and error texts, written once. Pure: no I/O."""
