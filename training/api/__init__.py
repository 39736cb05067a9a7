"""The REST API of training versions and services, and the whole of it: its addresses and its document."""
