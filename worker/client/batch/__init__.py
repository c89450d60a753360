"""Batches: many jobs over one endpoint or several, whose pictures and progress are a folder."""
