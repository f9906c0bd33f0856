"""What predicts new images: a fitted head with all it needs."""
