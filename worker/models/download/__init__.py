"""Downloads onto the volume: the queue, one attempt, and the parallel transfer."""
