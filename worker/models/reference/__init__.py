"""References to models: the forms that clients write, file names, and the catalog of known names."""
