"""Forms of the audit log and of usage."""
