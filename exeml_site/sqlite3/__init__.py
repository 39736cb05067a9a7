"""Django's SQLite with a line for those who write (base.py)."""
