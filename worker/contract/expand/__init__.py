"""Jobs made from other jobs: several prompts or seeds, wildcards, an infotext."""
