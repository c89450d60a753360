"""Parts that every layer may use: clocks, files, cancellation, JSON, suggestions."""
