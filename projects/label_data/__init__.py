"""The read model of the Label Data page."""
