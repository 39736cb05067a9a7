"""Forms of what other programs use and are told."""
