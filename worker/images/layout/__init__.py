"""Pictures made of several: sheets of plots, and pictures cut into tiles."""
