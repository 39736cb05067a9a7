"""One module per page, with the name of its view module."""
