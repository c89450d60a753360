"""Pictures as bytes: inspect, convert, read their infotext. Knows no WebUI, no queue, no store."""
