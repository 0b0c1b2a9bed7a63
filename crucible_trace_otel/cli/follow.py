"""`crucible-trace show --follow`: what happens in a run, as it happens, until it ends."""

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from crucible_trace_otel.cli import training
from crucible_trace_otel.cli.summary import summarise
from crucible_trace_otel.renderers.tree import in_ascii
from crucible_trace_otel.renderers.words import duration, leading, number, plain
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.store.tail import JournalTail, Look
from crucible_trace_otel.trace.spans import Trace, TraceEvent, TraceSpan
from crucible_trace_otel.trace.steps import step_rows
from crucible_trace_otel.trace.training import abnormal_steps, attempts, checkpoints, epochs

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore

__all__ = ["follow"]

_PAUSE_S: Final = 1.0
_WINDOWS: Final = frozenset({events.STEPS_RECORDED, events.GRADIENT_COMPUTED, events.REWARD_RECEIVED})
_TOLD: Final = frozenset(
    {
        operations.TRAINING_RUN,
        operations.EPOCH,
        operations.STEP_SEGMENT,
        operations.VALIDATION_RUN,
        operations.CHECKPOINT_SAVE,
    }
)


def follow(store: "JournalStore", run: str, *, is_ascii: bool) -> bool:
    """Say what has happened in a run, and then what happens, until it has ended or Ctrl-C is pressed.

    Args:
        store: Where it is recorded.
        run: What it is called.
        is_ascii: Whether only ASCII may be used.

    Returns:
        Whether the run has completed.

    Raises:
        NotFoundError: There is no such run.
        StoreError: The journal cannot be read.
    """
    screen = _Screen(is_ascii=is_ascii)
    tail = JournalTail(store.path)  # before the reading, so that nothing falls between them
    trace = store.get(run)
    watch = _Watch(trace)
    for line in _so_far(trace):
        screen.say(line)
    try:
        while watch.is_running:
            # A trace is as large as what was recorded, so it is read again only where that may tell more.
            del trace
            while not _may_have_ended(watch, tail.look(), screen):
                time.sleep(_PAUSE_S)
            trace = store.get(watch.trace_id)
            watch.take_whole(trace)
            for line in watch.news():
                screen.say(line)
    except KeyboardInterrupt:
        screen.say("")
        click.echo("Interrupted; the run goes on.", err=True)
        return False
    screen.say(f"{watch.summary.standing}, after {duration(watch.summary.duration_s)}")
    for verdict in training.verdicts(trace):
        screen.say(verdict.plain)
    return watch.summary.state == RunState.COMPLETED


def _may_have_ended(watch: "_Watch", look: Look, screen: "_Screen") -> bool:
    """Say what is new; whether the run may have ended."""
    watch.take(look)
    for line in watch.news():
        screen.say(line)
    if step := watch.new_step():
        screen.show(step)
    return look.has_died or watch.may_have_ended(look)


def _so_far(trace: Trace) -> Iterator[str]:
    """What has happened by now."""
    name, run_id, started, _, _, standing = summarise(trace).row()
    yield f"{name}  {standing}"
    yield f"{f'run {run_id}, ' if run_id else ''}started {started}"
    parts = [training.attempts_told(attempts(trace, step_rows(trace))), *training.sections(trace, show_all=False)]
    for lines in filter(None, parts):
        yield ""
        yield from (line.plain for line in lines)
    yield ""


class _Watch:
    """What is known of the run that is followed, and what has been said of it."""

    def __init__(self, trace: Trace) -> None:
        self._said: set[tuple[object, ...]] = set()
        self._step: tuple[int, str] = (0, "")
        self._said_step = ""
        self.take_whole(trace)
        self.news()  # told in sections by then

    def take_whole(self, trace: Trace) -> None:
        """Take in all that is stored of the run."""
        self.trace_id, self.summary = trace.trace_id, summarise(trace)
        self._run_ids = set(trace.run_ids)
        self._trace_ids = {span.trace_id for span in trace.spans}
        self._known = {span.span_id: _without_windows(span) for span in trace.spans if span.operation in _TOLD}
        self._has_changed = True

    @property
    def is_running(self) -> bool:
        """Whether the run went on when all of it was read last."""
        return self.summary.state == RunState.RUNNING

    def take(self, look: Look) -> None:
        """Take in what is new in the journal, as far as it is of this run."""
        for span in look.spans:
            if not self._is_of_run(span):
                continue
            self._trace_ids.add(span.trace_id)
            # What has ended stays so, though an older record of it may be met later.
            known = self._known.get(span.span_id)
            if span.operation in _TOLD and (known is None or known.is_running):
                self._known[span.span_id] = _without_windows(span)
                self._has_changed = True
        for window in look.windows:
            event = window.event
            if window.trace_id in self._trace_ids and event.name == events.STEPS_RECORDED:
                self._step = max(self._step, (event.time_ns, _last_step(event)))

    def _is_of_run(self, span: TraceSpan) -> bool:
        return span.trace_id in self._trace_ids or str(span.attributes.get(attr.CRUCIBLE_RUN_ID)) in self._run_ids

    def may_have_ended(self, look: Look) -> bool:
        """Whether something has ended that nothing encloses: then all of the run has to be read to be sure."""
        ended = (span for span in look.spans if span.trace_id in self._trace_ids and not span.is_running)
        return any(span.parent_id is None or span.parent_is_remote for span in ended)

    def news(self) -> list[str]:
        """What has happened and was not said yet, in order of time."""
        if not self._has_changed:
            return []
        self._has_changed = False
        return [line for _, line in sorted(self._happened(), key=lambda one: one[0])]

    def new_step(self) -> str:
        """The last step in words; empty where that was said."""
        step = self._step[1]
        if step == self._said_step:
            return ""
        self._said_step = step
        return step

    def _happened(self) -> Iterator[tuple[int, str]]:
        """When, and a line, for all that was not said."""
        trace = Trace(self.trace_id, tuple(sorted(self._known.values(), key=lambda span: span.start_ns)))
        for epoch in epochs(trace):
            if self._is_new(epoch.span):
                yield epoch.span.end_ns, _line(training.tell_epoch(epoch))
        for span in trace.spans:
            if span.operation == operations.VALIDATION_RUN and self._is_new(span):
                yield span.end_ns, f"validation  {training.tell_validation(trace, span)}"
        for saved in checkpoints(trace):
            if self._is_new(saved.span):
                yield saved.span.end_ns, _line(("checkpoint", *training.tell_checkpoint(saved)))
        for one in abnormal_steps(trace):
            if self._is_new(one.span, one.time_ns, str(one.step), one.kind, one.column):
                yield one.time_ns, _line(("abnormal", *training.tell_abnormal(one)))

    def _is_new(self, span: TraceSpan, *inside: object) -> bool:
        """Whether a span has ended, or something inside it has happened, that was not said; from now on it was."""
        key = span.span_id, *inside
        if key in self._said or (span.is_running and not inside):
            return False
        self._said.add(key)
        return True


def _without_windows(span: TraceSpan) -> TraceSpan:
    return replace(span, events=tuple(event for event in span.events if event.name not in _WINDOWS))


def _line(cells: Iterable[str]) -> str:
    return "  ".join(filter(None, cells))


def _last_step(event: TraceEvent) -> str:
    """`step 1200, loss 0.31`."""
    last = f"{attr.CRUCIBLE_WINDOW_LAST_TEMPLATE}."
    named = {key.removeprefix(last): value for key, value in event.attributes.items() if key.startswith(last)}
    column = leading(named)
    value = "" if column is None else f", {plain(column, 40)} {number(named[column])}"
    return f"step {number(event.attributes.get(attr.CRUCIBLE_WINDOW_LAST_STEP, '?'))}{value}"


class _Screen:
    """Lines, and below them one that changes; where stdout is no terminal that is a line each time, too."""

    def __init__(self, *, is_ascii: bool) -> None:
        self._is_ascii = is_ascii
        self._is_terminal = sys.stdout.isatty()
        self._is_open = False

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self._write(f"{line}\n")
        self._is_open = False

    def show(self, line: str) -> None:
        """Write a line that the next one replaces."""
        if not self._is_terminal:
            self.say(line)
            return
        text = Text(line)
        text.truncate(max(shutil.get_terminal_size().columns - 1, 1))
        self._write(text.plain)
        self._is_open = True

    def _write(self, text: str) -> None:
        shown = in_ascii(text) if self._is_ascii else text
        click.echo(f"\r\x1b[K{shown}" if self._is_open else shown, nl=False)
        sys.stdout.flush()
