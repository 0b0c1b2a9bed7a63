"""The command line: `crucible-trace list | show | steps | render | lineage | cost | ...`, each command a module.

Exit codes: 0 something was found, 1 nothing was, 2 an error (one sentence on stderr, no traceback).
"""

import contextlib
import sys
from importlib import import_module
from typing import Final

import click

__all__ = ["main"]

# Command to module; a module named `list` would hide the built-in one in this package.
_COMMANDS: Final = {
    "cost": "cost",
    "lineage": "lineage",
    "list": "list_",
    "recover": "recover",
    "render": "render",
    "resend": "resend",
    "ship": "ship",
    "show": "show",
    "status": "status",
    "steps": "steps",
    "stragglers": "stragglers",
}


class _Commands(click.Group):
    """Each command is a module of this package, imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"crucible_trace_otel.cli.{_COMMANDS[cmd_name]}").command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crucible_trace_otel", message="%(version)s")
def main() -> None:
    """Read recorded traces: from the first hypothesis to the deployed model.

    RUN is a name, a run id, a trace id or at least 6 digits of its beginning, or `latest`, the default. Begin with
    `list` and `show`.
    """
    for stream in (sys.stdout, sys.stderr):
        # What an encoding such as that of LC_ALL=C lacks is escaped instead of ending the program.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
