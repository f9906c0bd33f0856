"""Who runs the units of work: this process, or workers on Ray."""
