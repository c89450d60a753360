"""OpenAI's image API, as its clients send and read it."""
