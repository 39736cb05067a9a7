"""A team: its members, service accounts and usage."""
