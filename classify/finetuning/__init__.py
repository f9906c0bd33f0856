"""Gradients, from pixels or from a cached layer."""
