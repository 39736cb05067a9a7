"""Pages of what is recorded: the audit log, usage and cost."""
