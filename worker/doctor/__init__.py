"""The state of this machine: settings, missing parts, slow or wrong ones; every finding with a remedy."""
