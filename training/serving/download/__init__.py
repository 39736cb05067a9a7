"""A training version as files to take along."""
