"""Forms of the pages of sign-in and security."""
