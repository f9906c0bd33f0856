"""One protocol, many heads."""
