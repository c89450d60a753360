"""Looking at finished pictures before anybody gets them; off unless the operator says otherwise."""
