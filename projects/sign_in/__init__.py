"""Sign-in beside the password: providers, second factors, sessions, invitations."""
