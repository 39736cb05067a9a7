"""Backups of the whole installation, and one project as one file."""
