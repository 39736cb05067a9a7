"""Files of this machine: temporary ones, and copies of files of a remote storage."""
