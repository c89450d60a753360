"""Planning of an endpoint (workers, idle time-out, jobs at once) by simulating it before it is paid for."""
