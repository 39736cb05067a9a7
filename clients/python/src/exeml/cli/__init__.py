"""The command line: `exeml`, or `python -m exeml`."""
