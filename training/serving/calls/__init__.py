"""Calls of a service: limits, counters, monitoring, feedback."""
