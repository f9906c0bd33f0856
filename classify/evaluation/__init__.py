"""Numbers about predictions. Everything here takes arrays."""
