"""Picture files: their containers, notes and brands, and what a checked one is."""
