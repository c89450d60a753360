"""From finished pictures to what the answer carries: base64 inline, or URLs of a store, within the size limit."""
