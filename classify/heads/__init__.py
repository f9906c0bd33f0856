"""One file per head, and the table of heads."""
