"""Deployed versions: services, calls, batches, downloads."""
