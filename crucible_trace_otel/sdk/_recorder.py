"""The one span processor that `configure()` adds to a tracer provider."""

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.encoder import encode_resource, encode_scope, encode_span
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.ring import StepRing
from crucible_trace_otel.journal.sizes import TRACES
from crucible_trace_otel.sdk._sender import Sender
from crucible_trace_otel.sdk._shipping import Shipping

if TYPE_CHECKING:
    from crucible_trace_otel.sdk._signals import Signals

__all__ = ["Recorder", "Switch"]


class Recorder:
    """Hands each span to the journal first, then to the console, then to the sender, and counts them.

    Args:
        journal: Keeps spans; `shipping` then sends what is kept.
        console: Shows them.
        sender: Sends them from memory, where no journal is wanted.
        shipping: Has the journal sent.
    """

    def __init__(
        self,
        journal: JournalSpanProcessor | None,
        console: SpanProcessor | None,
        sender: Sender | None = None,
        shipping: Shipping | None = None,
    ) -> None:
        self.journal = journal
        self.steps = StepRing(journal.writer.segments, journal.writer.append) if journal is not None else None
        self.sender = sender
        self.shipping = shipping
        self.signals: Signals | None = None
        """Log records and metrics beside the spans."""
        self._counted = 0
        self._console = console
        self._others = [processor for processor in (console, sender) if processor is not None]
        self._counts_sizes = journal is None and sender is not None
        TRACES.is_told = TRACES.is_told or self._counts_sizes
        _recorders.add(self)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Keep `span` where it is a long one, and show it."""
        if self.journal is not None:
            self.journal.on_start(span)
        if self._console is not None:
            _safely(self._console.on_start, span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Keep, show and send `span`."""
        if self.journal is not None:
            self.journal.on_end(span)
        if self._others and span.context is not None and span.context.trace_flags.sampled:
            self._counted += 1
            if self._counts_sizes:
                _safely(_count, span)
            for processor in self._others:
                _safely(processor.on_end, span)

    @property
    def has_others(self) -> bool:
        """Whether anything but the journal wants spans."""
        return bool(self._others)

    @property
    def recorded(self) -> int:
        """Spans that ended so far in this process."""
        return self._counted if self.journal is None else self.journal.recorded

    def forget(self) -> None:
        """In a forked child: what was recorded so far is the parent's to count."""
        self._counted = 0
        if self.sender is not None:
            self.sender.forget()
        if self.signals is not None:
            self.signals.forget()


class Switch(SpanProcessor):
    """What stays in a provider for good; its recorder is replaced when `configure()` is called again."""

    def __init__(self, recorder: Recorder) -> None:
        self.use(recorder)

    def use(self, recorder: Recorder) -> None:
        """Pass spans on to `recorder` from now on; without a detour to its journal, where that is all there is."""
        self.recorder = recorder
        takes = recorder if recorder.journal is None or recorder.has_others else recorder.journal
        self.on_start, self.on_end = takes.on_start, takes.on_end  # type: ignore[method-assign]

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Pass on a span that starts."""
        self.recorder.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Pass on a span that ended."""
        self.recorder.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """For who flushes the provider itself."""
        if self.recorder.shipping is not None:
            return self.recorder.shipping.wait(timeout_millis / 1_000)
        sender = self.recorder.sender
        return sender is None or sender.force_flush(timeout_millis)


def _count(span: ReadableSpan) -> None:
    """Count a span that no journal counts, by what it would take there."""
    encoded = encode_resource(span.resource), encode_scope(span.instrumentation_scope), encode_span(span)
    if span.context is not None:
        TRACES.add(span.context.trace_id, span.context.span_id, sum(map(len, encoded)))


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
