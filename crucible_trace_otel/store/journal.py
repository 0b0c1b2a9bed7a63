"""The traces of journal directories. Nothing is kept: each reading sees what is on disk by then."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from crucible_trace_otel.errors import FormatError, NotFoundError
from crucible_trace_otel.journal.reader import JournalContent, StoredSpan
from crucible_trace_otel.store.naming import names_of, near
from crucible_trace_otel.store.unended import journal_segments, read_journal, unended
from crucible_trace_otel.trace.otlp import decode_span
from crucible_trace_otel.trace.runs import join_runs
from crucible_trace_otel.trace.spans import Trace, TraceSpan, group_into_traces, without_markers

__all__ = ["JournalStore", "decoded"]

_ID_PREFIX = re.compile(r"[0-9a-fA-F]{6,32}")


class JournalStore:
    """The traces of one journal directory, or of several.

    Raises:
        StoreError: A path does not exist or holds no journal.
    """

    def __init__(self, path: str | os.PathLike[str], *more: str | os.PathLike[str]) -> None:
        self.paths = tuple(dict.fromkeys(map(Path, (path, *more))))
        self.path = self.paths[0]
        self._gaps: _Gaps | None = None
        for one in self.paths:
            journal_segments(one)  # says what is wrong with it

    def __enter__(self) -> "JournalStore":  # noqa: PYI034 - typing.Self is younger than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """A journal is opened and closed at each reading, so there is nothing left to close."""

    @property
    def where(self) -> str:
        """The paths, for a sentence."""
        return ", ".join(map(str, self.paths))

    def __iter__(self) -> Iterator[Trace]:
        """Every stored trace, oldest first, as `traces()`."""
        return iter(self.traces())

    def traces(self) -> tuple[Trace, ...]:
        """Every stored trace, oldest first; those that hold spans of other instrumentations only, too.

        The parts of a run that outgrew its trace, and its attempts, are one trace: see `trace.runs.join_runs`.

        An operation that has not ended is there as far as it has come: with the state `running` while its process
        lives, `interrupted` once that has died, and as its end the time its process was last seen. What tells that an
        operation has started, or still goes on, is left out where the operation itself is there.

        Raises:
            StoreError: The journal has been taken away since the store was opened.
        """
        every = [written for path in self.paths for written in read_journal(path)]
        ended = [(written, decoded(written.writer.content.spans)) for written in every]
        spans = [span for _, found in ended for span in found]
        self._gaps = _gaps_of([written.writer.content for written in every], len(spans))
        # Behind all others: what really ended is taken as it ended, whoever wrote it.
        spans += [span for written, found in ended for span in decoded(unended(written, found))]
        return join_runs(group_into_traces(without_markers(spans)))

    def latest(self, among: Sequence[Trace] | None = None) -> Trace:
        """The trace that started last, of those that hold an operation of the convention.

        Traces of single inferences and feedback (`Trace.is_aside`) count where there are no others.

        Args:
            among: What `traces()` has given, where that is not to be read again.

        Raises:
            NotFoundError: It holds none yet.
            StoreError: The journal has been taken away since the store was opened.
        """
        traces = self.traces() if among is None else among
        ours = [trace for trace in traces if trace.is_ours]
        if ours:
            return next((trace for trace in reversed(ours) if not trace.is_aside), ours[-1])
        if traces:
            raise NotFoundError(
                f"The journal {self.where} holds only spans of other instrumentations: "
                "`crucible-trace list --all` shows their traces."
            )
        raise NotFoundError(
            f"The journal {self.where} holds no operation yet: one can be read once it has ended or is a second old."
        )

    def get(self, run: str, among: Sequence[Trace] | None = None) -> Trace:
        """The trace that answers to `run`; the newest where several do.

        Args:
            run: `latest`, a trace id (that of any part or attempt too) or at least 6 digits of its beginning, a run id,
                or a name: that of the trace, or what its pipeline, training run, chain or deployment is about.
            among: What `traces()` has given, where that is not to be read again.

        Raises:
            NotFoundError: None does; the message lists up to five names that come near.
            StoreError: The journal has been taken away since the store was opened.
        """
        if not isinstance(run, str):
            raise NotFoundError(f"No trace answers to {run!r}: it is asked for by a text, such as a name or a run id.")
        if run == "latest":
            return self.latest(among)
        traces = self.traces() if among is None else among
        for answers in _ways_to_answer(run, traces):
            found = [trace for trace in traces if answers(trace)]
            if found:
                return found[-1]
        raise NotFoundError(f"No trace in {self.where} answers to {run!r}.{near(run, traces)}")

    @property
    def damaged(self) -> int:
        """Records in the journal that are not what was written: their number at the last reading."""
        return self._last_gaps().damaged

    @property
    def torn(self) -> int:
        """Files that end within a record: normal where a process was killed, or is writing right now."""
        return self._last_gaps().torn

    @property
    def unreadable(self) -> tuple[str, ...]:
        """One sentence for each file or kind of record that was left aside at the last reading."""
        return self._last_gaps().unreadable

    def _last_gaps(self) -> "_Gaps":
        if self._gaps is None:
            self.traces()
        return self._gaps or _Gaps()


@dataclass(frozen=True, slots=True)
class _Gaps:
    """What could not be read. The rest of what was read is not kept: it is as large as the journal."""

    damaged: int = 0
    torn: int = 0
    unreadable: tuple[str, ...] = ()


def _gaps_of(contents: Sequence[JournalContent], decoded_spans: int) -> _Gaps:
    return _Gaps(
        damaged=sum(content.damaged + len(content.spans) for content in contents) - decoded_spans,
        torn=sum(content.torn for content in contents),
        unreadable=tuple(sentence for content in contents for sentence in content.unreadable),
    )


def decoded(spans: Iterable[StoredSpan]) -> list[TraceSpan]:
    """Those of `spans` that are spans."""
    found = []
    for stored in spans:
        with suppress(FormatError):
            found.append(decode_span(stored.resource, stored.scope, stored.span))
    return found


def _ways_to_answer(run: str, traces: Sequence[Trace]) -> tuple[Callable[[Trace], bool], ...]:
    """What `run` may mean, the most exact meaning first."""
    beginning = run.lower() if _ID_PREFIX.fullmatch(run) else None
    beginners = {trace.trace_id for trace in traces if beginning and _has_id(trace, beginning)}
    return (
        lambda trace: run.lower() in trace.trace_ids,
        lambda trace: run in trace.run_ids,
        lambda trace: run in names_of(trace),
        lambda trace: len(beginners) == 1 and trace.trace_id in beginners,
    )


def _has_id(trace: Trace, beginning: str) -> bool:
    return any(trace_id.startswith(beginning) for trace_id in trace.trace_ids)
