"""What fit() does with its time."""
