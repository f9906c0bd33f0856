"""The page of a review: its frame, its style, and its scripts, one for each noun."""
