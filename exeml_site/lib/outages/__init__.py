"""Outages of the database, the queue and the storage of files.

Pages answer them with 503 (exeml_site.unavailable); jobs wait for their end and go on.
"""
