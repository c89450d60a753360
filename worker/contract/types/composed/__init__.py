"""Parts of jobs that are made of several requests: tiles and plots."""
