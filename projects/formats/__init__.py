"""File formats as pure functions: no database, no storage."""
