"""Languages: the choice, numbers, catalogues, and texts that are not marked yet."""
