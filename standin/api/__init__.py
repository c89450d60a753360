"""The HTTP side: the WebUI's endpoints, and the stand-in's own."""
