"""Bundles: a fitted head with all it needs to predict new images."""
