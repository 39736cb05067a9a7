"""What all resources share: calls and when they are repeated, transports, settings."""
