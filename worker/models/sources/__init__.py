"""Sources of models: how clients refer to them, the catalog of known names, and the sites that files come from."""
