"""Rows and splits."""
