"""Files that are copied into a download. They run without this program."""
