"""A training version as files to download."""
