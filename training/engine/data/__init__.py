"""Files become pixels; duplicates among them."""
