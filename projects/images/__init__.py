"""Uploaded bytes become images; queries find them again."""
