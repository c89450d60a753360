"""How jobs reach the worker and how answers leave it; independent of RunPod's SDK."""
