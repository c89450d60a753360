"""HTTP to hosts that a client chose: public addresses only, within limits."""
