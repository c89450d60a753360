"""The contract with clients: types, rules and error texts, written once. Pure: no I/O."""
