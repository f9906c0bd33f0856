"""Files of vectors: one module per kind of file, the table of them by suffix, and what all of them hold."""
