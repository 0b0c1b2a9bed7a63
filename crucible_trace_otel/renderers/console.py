"""The live tree: each operation as it starts and as it ends, on the terminal of who runs the program."""

import contextlib
import os
import sys
import threading
import weakref
from typing import Final, TextIO

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import StatusCode
from rich.console import Console
from rich.text import Text

from crucible_trace_otel.renderers.areas import area_of
from crucible_trace_otel.renderers.tree import in_ascii
from crucible_trace_otel.renderers.words import DECISIONS, plain, tell
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations

__all__ = ["ConsoleSpanProcessor"]

_TOLD_AT_END_ONLY: Final = DECISIONS | {
    operations.VALIDATION_RUN,
    operations.CHECKPOINT_SAVE,
    operations.CHECKPOINT_LOAD,
    operations.MODEL_SAVE,
    operations.MODEL_LOAD,
    operations.INFERENCE,
    operations.STEP_SEGMENT,
    operations.HYPERPARAMETER_TUNED,
    operations.EXPERIENCE_SAMPLE,
    operations.FEEDBACK,
}
"""Moments and short operations: a line when they start would say nothing that the line at their end does not."""

_MOST_OPEN: Final = 10_000
_DEEPEST: Final = 20
_STARTED, _ENDED, _FAILED, _AT_ONCE, _REMARKED = "▶", "✓", "✗", "•", "-"
_IN_ASCII: Final = str.maketrans({_STARTED: ">", _ENDED: "+"})
_STYLES: Final = {_STARTED: "cyan", _ENDED: "green", _FAILED: "bold red", _AT_ONCE: "cyan", _REMARKED: "yellow"}

_Key = tuple[int, int]
_processors: "weakref.WeakSet[ConsoleSpanProcessor]" = weakref.WeakSet()


class ConsoleSpanProcessor(SpanProcessor):
    """Prints each operation as it starts and as it ends, indented by its depth. Never raises.

    In colours where the stream is a terminal (unless `NO_COLOR` is set), as plain lines where it is not. A stream that
    is closed is passed over in silence.

    Args:
        stream: Where to print; `sys.stderr` of the moment by default, because stdout belongs to the program.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._terminal: tuple[TextIO, Console] | None = None
        self._open: dict[_Key, int] = {}
        self._lock = threading.RLock()
        _processors.add(self)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Print a line for an operation that takes its time."""
        with contextlib.suppress(Exception):
            depth = self._enter(span)
            operation = (span.attributes or {}).get(attr.CRUCIBLE_OPERATION_NAME)
            if not _is_told_at_end_only(operation):
                title = tell(span.name, span.attributes or {}, 0, None).title
                self._print(depth, _STARTED, title, "", is_ours=operation is not None)

    def on_end(self, span: ReadableSpan) -> None:
        """Print how long it took, its numbers, and what went wrong."""
        with contextlib.suppress(Exception):
            depth = self._leave(span)
            attributes = span.attributes or {}
            operation = attributes.get(attr.CRUCIBLE_OPERATION_NAME)
            is_error = span.status.status_code is StatusCode.ERROR
            seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
            told = tell(span.name, attributes, seconds, (span.status.description or "") if is_error else None)
            well = _AT_ONCE if _is_told_at_end_only(operation) else _ENDED
            mark = _FAILED if told.problem else _REMARKED if told.remark else well
            more = "  ".join(filter(None, (told.duration, *told.facts, told.remark, told.problem)))
            self._print(depth, mark, told.title, more, is_ours=operation is not None)
            verdict = attributes.get(attr.CRUCIBLE_RUN_VERDICT)
            if verdict is not None:
                self._print(depth + 1, _AT_ONCE, plain(verdict), "", is_ours=True)

    def shutdown(self) -> None:
        """Forget what is open. Nothing waits here to be printed."""
        with self._lock:
            self._open.clear()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing waits here: each line is printed at once."""
        return True

    def _enter(self, span: ReadableSpan) -> int:
        with self._lock:
            parent = span.parent
            depth = self._open.get((parent.trace_id, parent.span_id), -1) + 1 if parent is not None else 0
            if span.context is not None:
                self._open[span.context.trace_id, span.context.span_id] = depth
            while len(self._open) > _MOST_OPEN:  # spans that were started and never ended
                del self._open[next(iter(self._open))]
            return depth

    def _leave(self, span: ReadableSpan) -> int:
        with self._lock:
            return self._open.pop((span.context.trace_id, span.context.span_id), 0) if span.context else 0

    def _print(self, depth: int, mark: str, title: str, more: str, *, is_ours: bool) -> None:
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is None or stream.closed:
            return
        indent = "  " * min(depth, _DEEPEST)
        line = f"{indent}{mark} {title}{'  ' if more else ''}{more}"
        with self._lock:
            if not stream.isatty():
                stream.write(_encodable(line, stream) + "\n")
                stream.flush()
                return
            if self._terminal is None or self._terminal[0] is not stream:
                self._terminal = stream, Console(file=stream, highlight=False, soft_wrap=True)
            text = Text(_encodable(line, stream), style="" if is_ours else "dim")
            text.stylize(_STYLES[mark], len(indent), len(indent) + 1)
            if more and mark != _FAILED:
                text.stylize("dim", len(text) - len(more))
            self._terminal[1].print(text)

    def _renew_lock(self) -> None:
        """In a forked child: the lock may be held by a thread that is not there."""
        self._lock = threading.RLock()


def _is_told_at_end_only(operation: object) -> bool:
    return operation in _TOLD_AT_END_ONLY or area_of(str(operation)) == "life"


def _encodable(line: str, stream: TextIO) -> str:
    """`line`, or where the stream's encoding has no such characters its ASCII form."""
    try:
        line.encode(stream.encoding or "utf-8")
    except (UnicodeError, LookupError):
        return in_ascii(line.translate(_IN_ASCII))
    return line


def _renew_locks() -> None:
    for processor in list(_processors):
        processor._renew_lock()  # noqa: SLF001 - the module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
