"""Defaults of a review. Help shows them, so this module imports nothing."""

TOP = 60  # images in a list
