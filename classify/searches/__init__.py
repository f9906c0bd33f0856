"""The images of a data set that are most like others."""
