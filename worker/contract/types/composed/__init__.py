"""Parts of jobs that are made of several requests: tiles and plots, and pictures made until enough are accepted."""
