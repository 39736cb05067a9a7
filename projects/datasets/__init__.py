"""Dataset versions: readiness, split, publishing, comparison, statistics."""
