"""The seam between the OpenTelemetry SDK and the journal."""

import os
import weakref
from collections.abc import Iterable
from contextlib import suppress

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from crucible_trace_otel._interruption import is_from_handler, let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.encoder import encode_resource, encode_scope, encode_span
from crucible_trace_otel.journal.opening import OpenSpans
from crucible_trace_otel.journal.records import HANDED_OVER, RecordType, json_payload
from crucible_trace_otel.journal.segment import SpanRecord
from crucible_trace_otel.journal.sizes import TRACES
from crucible_trace_otel.journal.ticking import Ticker
from crucible_trace_otel.journal.writer import JournalWriter, Sync

__all__ = ["JournalSpanProcessor"]

_SAMPLED = 1
_processors: "weakref.WeakSet[JournalSpanProcessor]" = weakref.WeakSet()


class JournalSpanProcessor(SpanProcessor):
    """Stores each ended, sampled span in `directory` before its `end()` returns, and what is open each second.

    For a tracer provider that somebody else set up: `provider.add_span_processor(JournalSpanProcessor(".crucible"))`.
    `configure()` adds one by itself. Nothing it does raises into the code that ends a span: a span that the disk does
    not take waits in memory; one that finds no room there either is counted in `lost`.

    Args:
        directory: Where this process's files go; made at the first span, readable by its owner only.
        sync: When the disk itself must have what was stored, for the case of a power cut: each so many seconds,
            `"always"` before `end()` returns, or `"off"`. What the process stored survives its own death anyway.
        progress_s: Seconds without a child after which a long operation gets a `progress` span; 0 for never.
    """

    def __init__(self, directory: str | os.PathLike[str], *, sync: Sync = 1.0, progress_s: float = 600.0) -> None:
        self.directory = os.fspath(directory)
        self.open = OpenSpans(progress_s)
        self.ticker = Ticker()
        self.writer = JournalWriter(directory, self.open.still_open, sync=sync, wake=self.ticker.at_once)
        self.markers = 0
        """Spans about open ones that were recorded beside those of the program."""
        self.unencodable = 0
        self.ticker.add(self.writer.tick)
        self.ticker.add(self._keep_open)
        _processors.add(self)
        TRACES.is_told = True

    @property
    def recorded(self) -> int:
        """Spans that ended in this process, and those recorded about open ones: stored, waiting or lost."""
        return self.stored + self.waiting + self.lost

    @property
    def stored(self) -> int:
        """Spans appended so far in this process, those about open ones included."""
        return self.writer.stored

    @property
    def waiting(self) -> int:
        """Spans that the disk does not take just now, in memory."""
        return self.writer.waiting

    @property
    def lost(self) -> int:
        """Spans that could not be kept."""
        return self.writer.lost + self.unencodable

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Keep what is known of a long operation. Never raises."""
        try:
            if self.open.started(span):
                self._keep(self.open.at_once(span))
            if not self.ticker.is_running:
                self.ticker.start()
        except Exception as error:
            if is_from_handler(error):
                self.open.ended(span)  # whoever starts it does not get it, and so cannot end it
                raise
            warn_once(f"open {type(error).__name__}", f"The start of {span.name!r} could not be stored: {error}.")

    def on_end(self, span: ReadableSpan) -> None:
        """Append `span` to the journal. Never raises."""
        try:
            context = span.context
            if context is None or not context.trace_flags & _SAMPLED or not self.open.is_here(span):
                return
            resource, scope = encode_resource(span.resource), encode_scope(span.instrumentation_scope)
            encoded = encode_span(span)
            self.writer.append_span(resource, scope, encoded)
            TRACES.add(context.trace_id, context.span_id, len(encoded) + len(resource) + len(scope))
        except Exception as error:  # noqa: BLE001 - whatever fails here must not reach the code that ends a span
            self._store_after(error, span)
            self.open.ended(span)
            let_through(error)
        except BaseException:  # Ctrl-C in the middle: the span is kept all the same, and the exception goes on
            if encode_span(span) not in self.writer.segments.recent:
                self.on_end(span)
            raise
        try:
            self.open.ended(span)
            if not self.ticker.is_running:
                self.ticker.start()
        except Exception as error:  # noqa: BLE001 - the span is stored
            let_through(error)
            warn_once(f"after {type(error).__name__}", f"What follows the end of {span.name!r} failed: {error}.")

    def _store_after(self, error: Exception, span: ReadableSpan) -> None:
        """Once more: what was raised may have come from a signal handler of the program's."""
        try:
            encoded = encode_span(span)
            if encoded not in self.writer.segments.recent:
                around = encode_resource(span.resource), encode_scope(span.instrumentation_scope)
                self.writer.append_span(*around, encoded)
        except Exception:  # noqa: BLE001
            self.unencodable += 1
            warn_once(
                f"journal {self.directory} {type(error).__name__}",
                f"The span {span.name!r} could not be stored in {self.directory}: {error}. Recording goes on; "
                "how many spans were lost is told when recording is shut down.",
            )

    def shutdown(self) -> None:
        """Say that nothing more is to come, and close the file. A span that ends later opens another."""
        self.close("shutdown")

    def close(self, how: str, error: str = "") -> None:
        """Close the file, and say in it how that came about: a process that dies says nothing."""
        self.ticker.stop()
        with suppress(Exception):  # one that cannot be told of must not keep the others from being closed
            self._keep(self.open.due(age_ns=0))
        self.writer.close({"how": how, "error": error} if error else {"how": how})
        self.ticker.resume()

    def take_over(self, previous: "JournalSpanProcessor") -> None:
        """Go on where `previous` stops: what is open there ends here."""
        if self.open.adopt(previous.open):  # a kill in between leaves it in both, and a span's end counts
            self._keep((False, record) for record in self.open.still_open())
            previous.writer.append(RecordType.CLOSED, json_payload({"how": HANDED_OVER}))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing waits here: each span is with the operating system when its `end()` returns."""
        return not self.writer.waiting

    def _keep_open(self) -> None:
        self._keep(self.open.due())

    def _keep(self, records: Iterable[tuple[bool, SpanRecord]]) -> None:
        for has_ended, record in records:
            self.ticker.start()
            self.markers += has_ended
            self.writer.append_span(*record, kind=RecordType.SPAN if has_ended else RecordType.OPEN)

    def forget(self) -> None:
        """In a forked child: what is open and what was counted is the parent's."""
        self.open.forget()
        self.markers = self.unencodable = 0


def _forget_all() -> None:
    for processor in list(_processors):
        processor.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
