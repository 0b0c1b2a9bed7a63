"""The one span processor that `configure()` adds to a tracer provider."""

import os
import threading
import weakref
from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.sdk._sender import Sender

__all__ = ["Recorder", "Switch"]


class Recorder:
    """Hands each span to the journal first, then to the console, then to the sender, and counts them."""

    def __init__(
        self, journal: JournalSpanProcessor | None, console: SpanProcessor | None, sender: Sender | None
    ) -> None:
        self.journal = journal
        self.sender = sender
        self.recorded = 0
        self._console = console
        self._lock = threading.RLock()  # a signal handler may record while it is held
        _recorders.add(self)

    def on_start(self, span: Span, parent_context: Context | None) -> None:
        """Show `span` on the console."""
        if self._console is not None:
            _safely(self._console.on_start, span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep, show and send `span`."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        is_counted = is_kept = False
        try:
            with self._lock:
                self.recorded += 1
                is_counted = True
            if self.journal is not None:
                self.journal.on_end(span)
            is_kept = True
        except BaseException:  # Ctrl-C in the middle: the span is kept all the same, and the exception goes on
            self.recorded += not is_counted
            if self.journal is not None and not is_kept:
                self.journal.on_end(span)
            raise
        for processor in (self._console, self.sender):
            if processor is not None:
                _safely(processor.on_end, span)

    def forget(self) -> None:
        """In a forked child: what was recorded so far is the parent's to count."""
        self._lock = threading.RLock()
        self.recorded = 0
        if self.journal is not None:
            self.journal.stored = self.journal.lost = 0
        if self.sender is not None:
            self.sender.forget()


class Switch(SpanProcessor):
    """What stays in a provider for good; its recorder is replaced when `configure()` is called again."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass on a span that starts."""
        self.recorder.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass on a span that ended."""
        self.recorder.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """For who flushes the provider itself."""
        sender = self.recorder.sender
        return sender is None or sender.force_flush(timeout_millis)


def _safely(call: Callable[..., object], *arguments: object) -> None:
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever fails here must not reach the code that ends a span
        warn_once(
            f"{call!r} {type(error).__name__}",
            f"A span was not passed on: {type(error).__name__}: {error}",
            exc_info=True,
        )


_recorders: "weakref.WeakSet[Recorder]" = weakref.WeakSet()


def _forget_all() -> None:
    for recorder in list(_recorders):
        recorder.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
