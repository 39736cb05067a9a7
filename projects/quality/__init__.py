"""What may be wrong with the images of a project."""
