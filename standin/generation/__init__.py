"""One generation: prompts, sampling, both passes, and the pictures that are drawn."""
