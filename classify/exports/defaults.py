"""Defaults of an export. Help shows them, so this module imports nothing."""

TOLERANCE = 1e-4  # largest difference of a probability between network and bundle
