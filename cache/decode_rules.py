"""The rules from file bytes to pixels. Help shows their names, so this module imports nothing."""

# To RGB, with their version: every pixel, JPEG's own reduction of large ones, or what a CUDA device makes of them.
DECODES = {"exact": "exact-1", "scaled": "scaled-1", "nvjpeg": "nvjpeg-1"}
