"""Weights: what is published, where it is, and how it is read."""
