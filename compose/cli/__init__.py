"""The command line. `main` turns every error of ours into a text and an exit code, once.

Rules: commands import what they need when they run, so that looking at a project loads neither the engine nor the
network; nothing imports this folder.
"""

from __future__ import annotations

import sys

from pycompose.compose.errors import PycomposeError


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the process's exit code."""
    import click

    from .commands import cli

    try:
        code = cli.main(args=arguments, prog_name="pycompose", standalone_mode=False)
        return code if isinstance(code, int) else 0  # of `context.exit`
    except PycomposeError as error:
        print(f"pycompose: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
