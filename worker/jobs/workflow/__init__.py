"""Workflows: stages planned, run one after the other, answered, and continued later."""
