"""Operations that have not ended: shown as far as they came, once, and never instead of what really ended."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.errors import StoreError
from crucible_trace_otel.journal.layout import segment_of
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.journal.recovery import recover_dead
from crucible_trace_otel.renderers import render
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.store import open_store
from tests.cli.running import crucible_trace
from tests.journal.crafted import PREFIX, SECOND, START, dead, records, span, stored, training, write, writer

if TYPE_CHECKING:
    from pathlib import Path

    from crucible_trace_otel.trace.spans import Trace

OTHER = "20260101T000000-8-0123abcd"


def operations(trace: Trace) -> list[str]:
    return sorted(one.operation for one in trace.spans)


def test_a_run_is_there_while_it_runs(tmp_path: Path) -> None:
    write(tmp_path, training(), note=identity())
    trace = open_store(tmp_path).latest()
    assert operations(trace) == ["checkpoint_save", "epoch", "epoch", "training_run"]
    (run,) = trace.roots
    assert (run.is_running, run.status, run.attributes[attr.CRUCIBLE_TRAINING_STEP_INDEX]) == (True, "unset", 299)
    assert (trace.name, trace.is_complete) == ("the training_run", False)
    listed = crucible_trace("list", "--journal", tmp_path).stdout
    assert listed.endswith("  4 s   4      running at step 299, loss 0.25\n")
    assert render(trace, "tree").startswith('training_run "the training_run"  4 s  step 299  loss 0.25')
    assert "  still running\n" in render(trace, "tree")
    assert list(tmp_path.iterdir()) == [segment_of(tmp_path, PREFIX, 0)]


def test_a_killed_run_is_interrupted_before_anybody_has_closed_it_and_the_same_afterwards(tmp_path: Path) -> None:
    write(tmp_path, training())
    before = open_store(tmp_path).latest()
    assert operations(before) == [
        *("checkpoint_save", "epoch", "epoch", "epoch_interrupted", "training_run", "training_run_interrupted"),
    ]
    assert recover_dead(tmp_path) == {PREFIX: 2}
    assert open_store(tmp_path).latest() == before
    assert crucible_trace("list", "--journal", tmp_path).stdout.endswith("  interrupted at step 299, loss 0.25\n")
    tree = render(before, "tree").splitlines()
    assert tree[0].endswith(
        "✗ interrupted: its process was killed or ended without a word (SIGKILL, SIGTERM, os._exit, out of memory)"
    )
    assert [line.partition("  ✗ ")[2] for line in tree if "epoch 1" in line or '"the epoch"' in line][
        -1
    ] == "interrupted"
    assert tree[-1] == '└── training_run_interrupted "the training_run: interrupted at step 299, loss 0.25"'


@pytest.mark.parametrize("first", [PREFIX, OTHER])
def test_p21_what_really_ended_wins_over_what_was_left_open_elsewhere(tmp_path: Path, first: str) -> None:
    ended = span(1, spans.STAGE, ends=1, crucible__operation__result="success")
    second = OTHER if first == PREFIX else PREFIX
    write(tmp_path, writer([span(1, spans.STAGE)]), first)
    write(tmp_path, writer([], [ended]), second)
    (one,) = [one for one in open_store(tmp_path).latest().spans if one.operation == spans.STAGE]
    assert (one.status, one.end_ns) == ("unset", START + SECOND)


def test_p21_equal_copies_are_one(tmp_path: Path) -> None:
    write(tmp_path, training())
    write(tmp_path, training(), OTHER)
    recover_dead(tmp_path)
    trace = open_store(tmp_path).latest()
    assert len(trace.spans) == len({one.span_id for one in trace.spans}) == 6


def test_signs_of_life_are_left_out_where_their_operation_is_there(tmp_path: Path) -> None:
    run = span(1, spans.TRAINING_RUN)
    started = span(2, spans.TRAINING_RUN_STARTED, 1, 0, 0, crucible__run__state="running")
    sign = span(3, spans.PROGRESS, 2, 1, 1, crucible__run__state="running")
    write(tmp_path, writer([run], [started, sign]), note=identity())
    assert operations(open_store(tmp_path).latest()) == ["training_run"]


def test_signs_of_life_are_shown_where_nothing_else_tells_of_the_operation(tmp_path: Path) -> None:
    started = span(2, spans.TRAINING_RUN_STARTED, 1, 0, 0, crucible__run__state="running")
    write(tmp_path, writer([], [started, span(3, spans.PROGRESS, 2, 1, 1)]))
    assert operations(open_store(tmp_path).latest()) == ["progress", "training_run_started"]
    assert crucible_trace("list", "--journal", tmp_path).stdout.endswith("  running\n")


def test_a_worker_that_died_does_not_make_a_running_run_interrupted(tmp_path: Path) -> None:
    write(tmp_path, writer([span(1, spans.TRAINING_RUN)]), note=identity())
    write(tmp_path, writer([span(2, spans.WORKER, 1, 1)]), OTHER)
    assert crucible_trace("list", "--journal", tmp_path).stdout.endswith("  running\n")


def test_a_run_that_is_tried_again_is_running(tmp_path: Path) -> None:
    write(tmp_path, writer([span(1, spans.TRAINING_RUN)]))
    assert crucible_trace("list", "--journal", tmp_path).stdout.endswith("  interrupted\n")
    write(tmp_path, writer([span(2, spans.TRAINING_RUN, at=8)]), OTHER, note=identity())
    assert crucible_trace("list", "--journal", tmp_path).stdout.endswith("  running\n")


def test_a_writer_on_another_machine_that_wrote_just_now_is_running(tmp_path: Path) -> None:
    path = write(tmp_path, training(), note={**dead(), "host": "elsewhere", "boot": "another", "pid_namespace": "x"})
    path.touch()
    (run,) = open_store(tmp_path).latest().roots
    assert run.is_running


def test_a_span_that_ended_twice_is_counted_once_with_what_is_damaged_apart(tmp_path: Path) -> None:
    content = training()
    broken = replace(
        content, content=replace(content.content, spans=(*content.content.spans, stored(span(9, "stage"))))
    )
    path = write(tmp_path, broken)
    path.write_bytes(b"".join(records(broken)) + b"noise" + b"".join(records(broken)[-1:]))
    store = open_store(tmp_path)
    assert (len(store.latest().spans), store.damaged) == (7, 1)


def test_a_place_that_cannot_be_listed_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, training())
    store = open_store(tmp_path)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("crucible_trace_otel.journal.files.listdir", refused)
    with pytest.raises(StoreError, match=r"The journal .* cannot be read: Permission denied\."):
        store.traces()
