"""The stages of a job (prepare, generate, verify, check, deliver), and the kinds of job that make no pictures."""
