"""What a process left open is closed once, with all that is known, and nothing of what it stored is changed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.layout import recovered_of, ring_of, segment_of
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.journal.messages import Kinship, kinship
from crucible_trace_otel.journal.reader import StoredSpan, StoredSteps, read_directory, read_writer
from crucible_trace_otel.journal.recovery import WITHOUT_A_WORD, cause_of_end, recover, recover_dead, restored
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import RunState
from tests.journal.crafted import (
    PREFIX,
    SECOND,
    START,
    TRACE,
    dead,
    id_of,
    locked,
    parsed,
    records,
    said,
    span,
    steps,
    stored,
    training,
    window,
    write,
    writer,
)
from tests.journal.process import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from crucible_trace_otel.journal.reader import WriterContent

SEEN = START + 4 * SECOND


def interrupted(content: WriterContent, **more: object) -> dict[str, Span]:
    given = {"state": RunState.INTERRUPTED, "last_seen_ns": SEEN, "cause": "it was killed", **more}
    return parsed(restored(content, **given))


def running(content: WriterContent) -> dict[str, Span]:
    return parsed(restored(content, state=RunState.RUNNING, last_seen_ns=SEEN, cause=""))


def test_a_killed_run_is_closed_with_its_last_step_loss_and_checkpoint() -> None:
    closed = interrupted(training())
    assert sorted(closed) == ["epoch", "epoch_interrupted", "training_run", "training_run_interrupted"]
    run, marker = closed["training_run"], closed["training_run_interrupted"]
    known = {
        attr.CRUCIBLE_RUN_STATE: "interrupted",
        attr.CRUCIBLE_RUN_LAST_SEEN: "2026-01-01T00:00:04.000Z",
        attr.CRUCIBLE_RUN_CAUSE: "it was killed",
        attr.CRUCIBLE_TRAINING_STEP_INDEX: 299,
        attr.CRUCIBLE_TRAINING_LOSS_VALUE: 0.25,
    }
    assert known.items() <= said(run).items()
    assert (run.end_time_unix_nano, run.status) == (SEEN, Status(code=2, message="interrupted: it was killed"))
    assert said(marker) == {
        **known,
        attr.CRUCIBLE_OPERATION_NAME: "training_run_interrupted",
        attr.CRUCIBLE_ABOUT: "the training_run: interrupted at step 299, loss 0.25",
        attr.CRUCIBLE_EVENT_ID: said(marker)[attr.CRUCIBLE_EVENT_ID],
        attr.CRUCIBLE_RUN_ID: "run-1",
        attr.CRUCIBLE_RUN_ATTEMPT: 2,
        attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 1,
        attr.CRUCIBLE_CHECKPOINT_PATH: "a.npz",
    }
    assert (marker.start_time_unix_nano, marker.end_time_unix_nano) == (SEEN, SEEN)
    assert (marker.trace_id, marker.parent_span_id) == (TRACE, run.span_id)
    assert len(said(marker)[attr.CRUCIBLE_EVENT_ID]) == 32
    assert len(marker.span_id) == 8


def test_what_was_stored_stays_byte_for_byte() -> None:
    content = training()
    for opened in content.content.open:
        closed = next(
            one
            for one in restored(content, state=RunState.INTERRUPTED, last_seen_ns=SEEN, cause="x")
            if Span.FromString(one.span).span_id == Span.FromString(opened.span).span_id
        )
        assert closed.span.startswith(opened.span)
        assert (closed.resource, closed.scope) == (opened.resource, opened.scope)


def test_closing_twice_gives_the_same_spans() -> None:
    assert interrupted(training()) == interrupted(training())
    assert len({message.span_id for message in interrupted(training()).values()}) == 4


def test_each_window_is_there_once() -> None:
    epoch = interrupted(training())["epoch"]
    assert [said(event)[attr.CRUCIBLE_WINDOW_FIRST_STEP] for event in epoch.events] == [100, 200]
    assert not interrupted(training())["training_run"].events


def test_an_attribute_that_is_known_better_now_is_replaced() -> None:
    run = span(1, spans.TRAINING_RUN, crucible__run__state="running", crucible__training__step__index=7)
    run.status.message, run.end_time_unix_nano = "so far so good", 5
    closed = interrupted(writer([run], windows=[steps(0, 1, window(0, 1, 0.5))]))["training_run"]
    assert said(closed)[attr.CRUCIBLE_RUN_STATE] == "interrupted"
    assert said(closed)[attr.CRUCIBLE_TRAINING_STEP_INDEX] == 99
    assert closed.status.message == "interrupted: it was killed"
    assert closed.end_time_unix_nano == SEEN


def test_an_error_that_was_said_before_the_end_stays() -> None:
    failed = span(1, spans.STAGE)
    failed.status.code, failed.status.message = Status.STATUS_CODE_ERROR, "no such file"
    assert interrupted(writer([failed]))["stage"].status.message == "no such file"


def test_nothing_ends_before_what_it_encloses() -> None:
    outer, inner, late = span(1, spans.PIPELINE), span(2, spans.STAGE, 1, 1), span(4, spans.TRIAL, 2, 9)
    ended = span(3, spans.STAGE, 2, 2, 7)
    closed = interrupted(writer([outer, inner], [ended]))
    assert {closed[name].end_time_unix_nano for name in ("pipeline", "stage")} == {START + 7 * SECOND}
    closed = interrupted(writer([outer, inner, late]))
    assert {closed[name].end_time_unix_nano for name in ("pipeline", "stage", "trial")} == {START + 9 * SECOND}


def test_a_span_of_another_instrumentation_is_closed_without_being_made_ours() -> None:
    closed = interrupted(writer([span(1, None)]))
    assert list(closed) == ["GET /"]
    assert said(closed["GET /"]).keys() == {attr.CRUCIBLE_RUN_LAST_SEEN, attr.CRUCIBLE_RUN_CAUSE}
    assert closed["GET /"].status.code == Status.STATUS_CODE_ERROR
    assert said(running(writer([span(1, None)]))["GET /"]) == {}


def test_a_short_operation_gets_no_marker() -> None:
    assert list(interrupted(writer([span(1, spans.CHECKPOINT_SAVE)]))) == ["checkpoint_save"]


def test_a_running_operation_is_shown_as_far_as_it_came() -> None:
    shown = running(training())
    assert sorted(shown) == ["epoch", "training_run"]
    run = shown["training_run"]
    assert said(run)[attr.CRUCIBLE_RUN_STATE] == "running"
    assert said(run)[attr.CRUCIBLE_TRAINING_STEP_INDEX] == 299
    assert attr.CRUCIBLE_RUN_CAUSE not in said(run)
    assert (run.status.code, run.end_time_unix_nano) == (Status.STATUS_CODE_UNSET, SEEN)
    assert len(shown["epoch"].events) == 2


@pytest.mark.parametrize(("first", "then"), [("loss", "x"), ("valid_loss", "x"), ("x", "y")])
def test_the_loss_is_the_number_that_is_called_so(first: str, then: str) -> None:
    event = window(0, 1, 0.0)
    del event.attributes[3]
    for name, number in ((then, 1.0), (first, 2.0)):
        pair = event.attributes.add(key=f"{attr.CRUCIBLE_WINDOW_LAST_TEMPLATE}.{name}")
        pair.value.double_value = number
    run = interrupted(writer([span(1, spans.TRAINING_RUN)], windows=[steps(0, 1, event)]))["training_run"]
    assert said(run).get(attr.CRUCIBLE_TRAINING_LOSS_VALUE) == (2.0 if "loss" in first else None)


def test_gradients_do_not_move_the_step() -> None:
    event = window(900, 3, 9.0, name=events.GRADIENT_COMPUTED)
    content = writer([span(1, spans.TRAINING_RUN)], windows=[steps(0, 1, window(0, 1, 0.5)), steps(1, 1, event)])
    run = interrupted(content)["training_run"]
    assert len(run.events) == 2
    assert said(run)[attr.CRUCIBLE_TRAINING_STEP_INDEX] == 99


def test_windows_of_a_span_whose_record_is_lost_go_to_what_encloses_it() -> None:
    lost = [steps(0, 9, window(0, 1, 0.5)), steps(1, 9, window(100, 2, 0.4))]
    closed = interrupted(writer([span(1, spans.PIPELINE), span(2, spans.TRAINING_RUN, 1, 1)], windows=lost))
    assert len(closed["training_run"].events) == 2
    assert said(closed["training_run"])[attr.CRUCIBLE_TRAINING_STEP_INDEX] == 199


def test_windows_that_nothing_encloses_get_a_span_of_their_own() -> None:
    lost = [steps(0, 9, window(0, 1, 0.5)), steps(1, 9, window(100, 2, 0.4))]
    content = writer([], [span(1, spans.STAGE, ends=1)], lost)
    home = interrupted(content)["step_segment"]
    assert (home.parent_span_id, len(home.events)) == (id_of(9), 2)
    assert said(home)[attr.CRUCIBLE_ABOUT] == "steps 0 to 199"
    assert home.span_id != id_of(9)
    there = replace(content.content, spans=(*content.content.spans, stored(home)))
    assert interrupted(replace(content, content=there)) == {}


def test_windows_of_what_has_ended_are_left_alone() -> None:
    ended = span(1, spans.TRAINING_RUN, ends=2)
    assert interrupted(writer([], [ended], [steps(0, 1, window(0, 1, 0.5))])) == {}


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80), st.builds(lambda cut: stored(span(1, "epoch")).span[:cut], st.integers(0, 80))
        )
    ),
    st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=60))),
    st.sampled_from([RunState.RUNNING, RunState.INTERRUPTED]),
    st.integers(0, 2**64 - 1),
)
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_it_raise(messages: list[bytes], windows: list[tuple[int, bytes]], state: str, seen: int) -> None:
    each = tuple(StoredSpan(b"", b"", message) for message in messages)
    held = tuple(StoredSteps(number, TRACE, id_of(number), event) for number, event in windows)
    content = writer()
    whole = replace(content, content=replace(content.content, spans=each[::2], open=each[1::2], steps=held))
    restored(whole, state=state, last_seen_ns=seen, cause="x")


@given(
    st.lists(
        st.tuples(st.text(max_size=5), st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.floats())),
        unique_by=lambda pair: pair[0],
    )
)
@settings(max_examples=100, deadline=None)
def test_other_attributes_stay_as_they_are(attributes: list[tuple[str, object]]) -> None:
    before = span(1, spans.STAGE, crucible__run__state="running", **dict(attributes))
    after = interrupted(writer([before]))["stage"]
    kept = [pair.SerializeToString() for pair in before.attributes if pair.key != attr.CRUCIBLE_RUN_STATE]
    assert [pair.SerializeToString() for pair in after.attributes[: len(kept)]] == kept


# ---- recover ----


def test_the_ends_are_written_beside_what_the_process_wrote(tmp_path: Path) -> None:
    path = write(tmp_path, training())
    before = path.read_bytes()
    assert recover(tmp_path, PREFIX) == 2
    assert path.read_bytes() == before
    recovered = recovered_of(tmp_path, PREFIX)
    assert recovered.stat().st_mode & 0o777 == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([path.name, recovered.name])
    content = read_directory(tmp_path)
    assert (content.open, content.damaged, content.torn, content.unreadable) == ((), 0, 0, ())
    assert len(content.spans) == 2 + 4
    run = parsed(content.spans[-4:])["training_run"]
    assert said(run)[attr.CRUCIBLE_RUN_CAUSE] == WITHOUT_A_WORD
    assert run.end_time_unix_nano == SEEN  # when the file was last touched


def test_recovering_again_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, training())
    assert recover(tmp_path, PREFIX) == 2
    once = recovered_of(tmp_path, PREFIX).read_bytes()
    assert recover(tmp_path, PREFIX, cause="something else") == 0
    assert recover_dead(tmp_path) == {}
    assert recovered_of(tmp_path, PREFIX).read_bytes() == once


def test_what_is_found_open_later_is_added_behind_what_may_have_been_sent(tmp_path: Path) -> None:
    path = write(tmp_path, training())
    recover(tmp_path, PREFIX)
    once = recovered_of(tmp_path, PREFIX).read_bytes()
    segment_of(tmp_path, PREFIX, 1).write_bytes(b"".join(records(writer([span(8, spans.STAGE, 1)]))))
    assert recover(tmp_path, PREFIX, cause="its machine stopped") == 1
    again = recovered_of(tmp_path, PREFIX).read_bytes()
    assert again.startswith(once)
    assert len(read_directory(tmp_path).spans) == 2 + 4 + 2
    assert path.exists()


def rotated(directory: Path, count: int, *, carried: bool = True) -> None:
    """A run that wrote `count` segments, each of which begins with what was open then."""
    run = span(1, spans.TRAINING_RUN)
    for number in range(count):
        stage = span(10 + number, spans.STAGE, 1, ends=1)
        opened = [run] if carried or number == 0 else []
        part = writer(opened, [stage], [steps(number, 1, window(100 * number, number, 0.5))])
        path = segment_of(directory, PREFIX, number)
        path.write_bytes(b"".join(records(part)))
        os.utime(path, ns=(SEEN, SEEN))
        run.events.append(window(100 * number, number, 0.5))


@pytest.mark.parametrize("carried", [True, False])
def test_a_run_of_many_segments_is_closed_by_the_last_ones(tmp_path: Path, carried: bool) -> None:
    rotated(tmp_path, 5, carried=carried)
    assert recover(tmp_path, PREFIX) == 1
    content = read_directory(tmp_path)
    run = next(Span.FromString(one.span) for one in content.spans if b"training_run" in one.span)
    assert [said(event)[attr.CRUCIBLE_WINDOW_FIRST_STEP] for event in run.events] == [0, 100, 200, 300, 400]
    assert said(run)[attr.CRUCIBLE_TRAINING_STEP_INDEX] == 499
    assert (content.open, recover(tmp_path, PREFIX)) == ((), 0)


@given(
    st.binary(max_size=40),
    st.text(max_size=200),
    st.integers(0, 2**64 - 1),
    st.integers(1, 2**64 - 1),
    st.integers(0, 5),
)
@settings(max_examples=300, deadline=None)
def test_the_short_way_reads_what_the_long_one_reads(tail: bytes, name: str, start: int, end: int, kind: int) -> None:
    message = span(1, spans.STAGE, 2)
    message.name, message.start_time_unix_nano, message.end_time_unix_nano, message.kind = name, start, end, kind
    message.trace_state = tail.hex()[:20]
    whole = message.SerializeToString()
    assert kinship(whole) == Kinship(message.span_id, message.parent_span_id, start, end)
    for cut in range(0, len(whole), 7):
        with contextlib.suppress(FormatError):
            kinship(whole[:cut])


def test_nothing_open_is_a_normal_end(tmp_path: Path) -> None:
    write(tmp_path, writer([], [span(1, spans.STAGE, ends=1)]))
    assert recover(tmp_path, PREFIX) == 0
    assert recover_dead(tmp_path) == {}
    assert not recovered_of(tmp_path, PREFIX).exists()


@pytest.mark.parametrize(
    ("closed", "cause"),
    [
        ({"how": "exit"}, "its program ended without ending it"),
        ({"how": "exit", "error": "KeyboardInterrupt"}, "its program ended without ending it (KeyboardInterrupt)"),
        (None, WITHOUT_A_WORD),
    ],
)
def test_closed_does_not_mean_that_nothing_is_open(tmp_path: Path, closed: dict[str, str] | None, cause: str) -> None:
    write(tmp_path, writer([span(1, spans.STAGE)]), closed=closed)
    assert recover_dead(tmp_path) == {PREFIX: 1}
    assert said(parsed(read_directory(tmp_path).spans)["stage"])[attr.CRUCIBLE_RUN_CAUSE] == cause
    assert cause_of_end(closed) == cause


def test_a_better_cause_is_taken(tmp_path: Path) -> None:
    write(tmp_path, writer([span(1, spans.STAGE)]))
    recover(tmp_path, PREFIX, cause="signal 9")
    stage = parsed(read_directory(tmp_path).spans)["stage"]
    assert stage.status.message == "interrupted: signal 9"


def test_a_living_writer_is_never_touched(tmp_path: Path) -> None:
    write(tmp_path, training(), note=identity())
    assert (recover(tmp_path, PREFIX), recover_dead(tmp_path)) == (0, {})


def test_a_writer_of_which_only_the_lock_is_seen_lives_while_it_is_held(tmp_path: Path) -> None:
    path = write(
        tmp_path, training(), note={"pid": 1, "started": 1, "boot": identity()["boot"], "host": identity()["host"]}
    )
    fd = locked(path)
    assert (recover(tmp_path, PREFIX), recover_dead(tmp_path)) == (0, {})
    os.close(fd)
    assert recover_dead(tmp_path) == {PREFIX: 2}


def test_a_dead_writer_whose_child_kept_the_lock_is_closed_all_the_same(tmp_path: Path) -> None:
    fd = locked(write(tmp_path, training()))
    try:
        assert recover(tmp_path, PREFIX) == 2
    finally:
        os.close(fd)


def test_a_writer_of_another_host_is_left_to_that_host(tmp_path: Path) -> None:
    write(tmp_path, training(), note={**dead(), "host": "elsewhere", "boot": "another"})
    assert recover_dead(tmp_path) == {}


def test_several_at_once_close_it_once(tmp_path: Path) -> None:
    write(tmp_path, training())
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(recover(tmp_path, PREFIX))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 2]
    assert len(read_directory(tmp_path).spans) == 2 + 4


def test_the_ring_of_a_dead_writer_goes(tmp_path: Path) -> None:
    write(tmp_path, training())
    ring_of(tmp_path, PREFIX).write_bytes(b"no ring")
    assert recover(tmp_path, PREFIX) == 2
    assert not ring_of(tmp_path, PREFIX).exists()


def test_an_unknown_writer_is_nothing_to_close(tmp_path: Path) -> None:
    assert recover(tmp_path, "nobody") == 0


@pytest.mark.parametrize("operation", ["rename", "open_append"])
def test_where_it_cannot_be_written_nothing_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    write(tmp_path, training())
    ring_of(tmp_path, PREFIX).write_bytes(b"no ring")
    before = sorted(tmp_path.iterdir())

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, operation, refuse)
        with pytest.raises(OSError, match="No space"):
            recover(tmp_path, PREFIX)
        with pytest.raises(OSError, match="No space"):
            recover_dead(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    assert len(read_writer(tmp_path, PREFIX).content.open) == 2
    assert recover_dead(tmp_path) == {PREFIX: 2}


def test_the_shipper_can_load_it_with_the_standard_library_alone(tmp_path: Path) -> None:
    code = (
        "import sys, types\n"
        "package = types.ModuleType('crucible_trace_otel')\n"
        f"package.__path__ = [{str(ROOT / 'crucible_trace_otel')!r}]\n"
        "sys.modules['crucible_trace_otel'] = package\n"
        "import crucible_trace_otel.journal.recovery as recovery\n"
        "print(recovery.recover_dead(recovery.Path(sys.argv[1])))\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google'))])\n"
    )
    write(tmp_path / "j", training())
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(tmp_path / "j")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"{{'{PREFIX}': 2}}\n[]\n", done.stderr
