"""Metrics, curves, significance."""
