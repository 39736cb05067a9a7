"""Programs that are copied into a download. They import nothing of this project."""
