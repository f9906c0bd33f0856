"""Exact linear algebra for heads."""
