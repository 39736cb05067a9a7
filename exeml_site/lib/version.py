"""The version of this program, as pyproject.toml names it."""

VERSION = "0.1.0"
