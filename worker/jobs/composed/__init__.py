"""Jobs made of several requests: redrawing by tiles, and plots."""
