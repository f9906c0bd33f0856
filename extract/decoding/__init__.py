"""Bytes of image files to pixels, and views of them."""
