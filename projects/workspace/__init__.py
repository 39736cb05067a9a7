"""Projects, their members, signing in."""
