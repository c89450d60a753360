"""Judges of finished pictures: the operator's moderation, faces, quality, and judges of the operator's own."""
