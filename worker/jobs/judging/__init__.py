"""Judging in jobs: the judges that a job asks for, and pictures made until enough are accepted."""
