"""The ways of jobs to the worker and of answers out of it; independent of RunPod's SDK."""
