"""The only folder that knows AUTOMATIC1111: its command line, its process, its API and its ways of being wrong."""
