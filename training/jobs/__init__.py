"""RQ jobs of a training version."""
