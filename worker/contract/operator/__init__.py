"""An operator's presets and rules for prompts."""
