"""One request at work on the GPU: sent, watched for stalls, interrupted where it has to be."""
