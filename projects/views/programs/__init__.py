"""Pages of what other programs use and are told."""
