"""Django's SQLite backend with a file lock for writers (base.py)."""
