"""Shared by all of the contract: limits, other tools' names of fields, and paths as the client wrote them."""
