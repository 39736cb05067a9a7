"""What all resources of the API share: access, problems, pages of a list, calls that are made once."""
