"""Log lines as text or JSON, and the request or job that they belong to."""
