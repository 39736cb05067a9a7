"""Pages of sign-in beside the password, and of the security of an account."""
