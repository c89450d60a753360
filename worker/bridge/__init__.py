"""A1111's and OpenAI's API on this computer, forwarded to an endpoint elsewhere."""
