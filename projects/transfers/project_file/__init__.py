"""One project as one file: out of this installation, and into this or another one."""
