"""Exports: a bundle and its backbone as one network."""
