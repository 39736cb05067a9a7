"""RQ jobs that help labelers: embeddings, suggestions, duplicates, issues, forecasts."""
