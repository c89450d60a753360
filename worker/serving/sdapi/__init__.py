"""A1111's HTTP API over the job gateway: the programs that were written for a WebUI of one's own work unchanged."""
