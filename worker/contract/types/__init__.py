"""Types of a job's fields: the only place where it is written what a client may send."""
