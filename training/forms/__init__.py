"""One module per page, named as its view."""
