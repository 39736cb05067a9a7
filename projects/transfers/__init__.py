"""Bringing images and labels in and out: archives, manifests, tables, server folders; exports."""
