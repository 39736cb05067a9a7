"""The names that files, folders and tables give the splits."""
