"""Linear algebra and optimisers for heads."""
