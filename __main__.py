"""The command line: `python -m pycompose` and the `pycompose` script."""

from __future__ import annotations

import sys


def main() -> None:
    from .compose.cli import main as cli_main

    sys.exit(cli_main())


if __name__ == "__main__":
    main()
