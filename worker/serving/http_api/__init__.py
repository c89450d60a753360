"""The worker's HTTP server: one application made of several APIs, each with its routes and its form of errors."""
