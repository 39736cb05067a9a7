"""Several people at once: assignments, presence, progress, review."""
