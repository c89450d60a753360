"""One job: run here or sent to an endpoint, and what a person is told of it."""
