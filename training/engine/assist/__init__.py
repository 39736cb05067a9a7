"""Help for labelers: embeddings, suggestions, learning curves."""
