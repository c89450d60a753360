"""The worker's manners towards whoever hands it jobs; nothing here knows RunPod's client."""
