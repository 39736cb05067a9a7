#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    os.umask(0o077)  # what this program and those that it starts write is for their user alone
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "exeml_site.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
