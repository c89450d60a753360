"""What is configured, found, missing, slow or wrong on this machine; every finding with what to do about it."""
