"""Sign-in: its settings, and how passwords are hashed."""
