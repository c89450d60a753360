"""Faces in pictures: detection, embedding, references of persons, and the judge that compares them."""
