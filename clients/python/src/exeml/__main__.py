"""`exeml` and `python -m exeml`: the command line."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from exeml.cli.main import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit("The command line needs more packages: pip install 'exeml-client[cli]'")
    app()


if __name__ == "__main__":
    main()
