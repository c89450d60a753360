"""``worker deploy``: making, changing, watching and deleting a RunPod endpoint through RunPod's REST API v2."""
