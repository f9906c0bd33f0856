"""Metrics, tests and thresholds of predictions. Everything here takes arrays."""
