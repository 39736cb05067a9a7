"""`python -m exeml`: the command line."""

from exeml.cli.main import run

run()
