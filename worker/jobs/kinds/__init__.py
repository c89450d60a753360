"""The kinds of job that do not diffuse images, one module a family."""
