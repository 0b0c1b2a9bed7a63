"""What all reading commands share: where the journal is, which run is meant, how troubles end the program."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from crucible_trace_otel.errors import CrucibleError, NotFoundError

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore

__all__ = [
    "as_json",
    "draws_only_ascii",
    "gaps",
    "journal",
    "journals",
    "reading",
    "run",
    "say",
    "say_gaps",
]

F = TypeVar("F", bound=Callable[..., Any])

_DRAWN = "│├└─↳→…•✗▁█"

journal = click.option(
    "--journal",
    "path",
    envvar="CRUCIBLE_JOURNAL",
    default=".crucible",
    show_default=True,
    show_envvar=True,
    metavar="PATH",
    help="The journal directory to read.",
)


class _Path(click.types.StringParamType):
    """A text that stays one where it comes from the environment: a path may hold spaces."""

    def split_envvar_value(self, rv: str) -> list[str]:
        return [rv]


journals = click.option(
    "--journal",
    "paths",
    envvar="CRUCIBLE_JOURNAL",
    default=(".crucible",),
    show_default=True,
    show_envvar=True,
    metavar="PATH",
    multiple=True,
    type=_Path(),
    help="The journal directory to read; given several times, to read them together.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON instead, for programs.")
run = click.argument("run", default="latest", metavar="[RUN]")


def reading(command: F) -> F:
    """Call `command` with the opened store for its `paths`, and end as this program's exit codes say."""

    @wraps(command)
    def opened(paths: tuple[str, ...], **arguments: Any) -> None:
        from crucible_trace_otel.store import open_store  # noqa: PLC0415 - it loads protobuf

        with _ending(), open_store(*paths) as store:
            command(store, **arguments)

    return opened  # type: ignore[return-value]


@contextmanager
def _ending() -> Iterator[None]:
    """End the program as its exit codes say, with one sentence, where nothing was found or something is wrong."""
    try:
        yield
    except NotFoundError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    except CrucibleError as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def say(text: str) -> None:
    """Write `text`, which ends its own lines, to stdout."""
    click.echo(text, nl=False)


def draws_only_ascii() -> bool:
    """Whether stdout's encoding lacks the characters that branches and marks are drawn with."""
    try:
        _DRAWN.encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return True
    return False


def say_gaps(store: "JournalStore") -> None:
    """Say on stderr what the journal holds and nobody could read; silence when all was read."""
    for sentence in gaps(store):
        click.echo(sentence, err=True)


def gaps(store: "JournalStore") -> list[str]:
    """One sentence for each kind of thing in the journal that could not be read."""
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    said: list[str] = []
    if store.damaged:
        said.append(f"{store.damaged} damaged {_plural('record', store.damaged)} in {store.where} could not be read.")
    if store.torn:
        said.append(
            f"{store.torn} {_plural('file', store.torn)} in {store.where} stopped within a record: "
            "normal where a process was killed, or is writing right now."
        )
    return said + [f"Not read: {plain(sentence)}." for sentence in store.unreadable]


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
