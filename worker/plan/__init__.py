"""How many workers, how long idle, how many jobs at once: an endpoint played through before it is paid for."""
