"""Checks, joint embeddings and splits: what happens to rows before a head is fitted."""
