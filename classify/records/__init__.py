"""One fit, written down, and the order of many."""
