"""The life of a training version, seen from the web."""
