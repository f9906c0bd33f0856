"""Leaks, copies, outliers and doubtful labels of a data set."""
