"""The page over run records."""
