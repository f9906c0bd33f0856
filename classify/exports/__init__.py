"""A bundle and its backbone as one network."""
