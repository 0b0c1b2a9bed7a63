"""Exceptions: what leaves user code goes on unchanged, and is recorded once, where it left."""

from __future__ import annotations

import asyncio
import subprocess
import traceback
from dataclasses import dataclass

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record._failure import outcome_of
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

RESULT = attr.CRUCIBLE_OPERATION_RESULT
TYPE = attr.ERROR_TYPE
OK = {RESULT: "success"}
BAD = {RESULT: "error", TYPE: "ValueError"}


class WithoutWordsError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nothing to say")


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int


class SlottedError(Exception):
    __slots__ = ("code",)


def boom(error: BaseException) -> None:
    raise error


def test_an_exception_goes_through_unchanged(recorded: Recording) -> None:
    error = ValueError("no rows")
    with pytest.raises(ValueError, match="no rows") as caught, crucible.pipeline("p"), crucible.stage("s"):
        boom(error)
    assert caught.value is error
    assert vars(error) == {}
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == [
        "test_an_exception_goes_through_unchanged",
        "boom",
    ]
    assert recorded.tree(RESULT, TYPE) == node(
        "pipeline p",
        "p",
        node("stage s", "s", attributes=BAD, events=["exception"], error="ValueError: no rows"),
        attributes=BAD,
        error="ValueError: no rows",
    )


def test_the_exception_event_tells_the_whole_chain(recorded: Recording) -> None:
    with pytest.raises(WithoutWordsError), crucible.stage("s"):
        try:
            boom(KeyError("first"))
        except KeyError as error:
            raise WithoutWordsError from error
    (event,) = recorded.one("stage s").events
    attributes = dict(event.attributes or {})
    name = f"{WithoutWordsError.__module__}.WithoutWordsError"
    assert attributes[attr.EXCEPTION_TYPE] == name
    assert attributes[attr.EXCEPTION_MESSAGE] == "<unprintable WithoutWordsError>"
    assert "KeyError: 'first'" in str(attributes[attr.EXCEPTION_STACKTRACE])
    assert "direct cause" in str(attributes[attr.EXCEPTION_STACKTRACE])


@pytest.mark.parametrize(
    "error", [WithoutWordsError(), FrozenError(3), SlottedError()], ids=lambda error: type(error).__name__
)
def test_odd_exceptions_go_through(recorded: Recording, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, crucible.pipeline("p"), crucible.stage("s"):
        boom(error)
    assert caught.value is error
    tree = recorded.tree()
    assert (tree.events, tree.inside[0].events) == ([], ["exception"])
    assert vars(error).keys() <= {"code"}


def test_an_exception_that_was_caught_and_another_one(recorded: Recording) -> None:
    with pytest.raises(ValueError, match="second"), crucible.pipeline("p"):
        try:
            with crucible.stage("a"):
                boom(KeyError("first"))
        except KeyError:
            boom(ValueError("second"))
    assert recorded.tree(RESULT, TYPE) == node(
        "pipeline p",
        "p",
        node(
            "stage a",
            "a",
            attributes={RESULT: "error", TYPE: "KeyError"},
            events=["exception"],
            error="KeyError: 'first'",
        ),
        attributes=BAD,
        events=["exception"],
        error="ValueError: second",
    )


def test_one_exception_object_raised_in_two_stages(recorded: Recording) -> None:
    error = ValueError("again")
    with crucible.pipeline("p") as pipeline:
        for name in "ab":
            with pytest.raises(ValueError, match="again"), pipeline.stage(name), crucible.stage("inner"):
                boom(error)
    inner = node("stage inner", "inner", attributes=BAD, events=["exception"], error="ValueError: again")
    assert recorded.tree(RESULT, TYPE) == node(
        "pipeline p",
        "p",
        *(node(f"stage {name}", name, inner, attributes=BAD, error="ValueError: again") for name in "ab"),
        attributes=OK,
    )


def test_a_failure_that_was_handled_leaves_the_rest_well(recorded: Recording) -> None:
    with crucible.pipeline("p"):
        with pytest.raises(ValueError, match="x"), crucible.stage("bad"):
            boom(ValueError("x"))
        with crucible.stage("good"):
            pass
    assert [(inner.name, inner.attributes[RESULT]) for inner in recorded.tree(RESULT).inside] == [
        ("stage bad", "error"),
        ("stage good", "success"),
    ]
    assert recorded.tree(RESULT).attributes == OK


class TaskTimeoutError(TimeoutError):
    pass


@pytest.mark.parametrize(
    ("error", "result", "error_type", "description"),
    [
        (KeyboardInterrupt(), "cancellation", "KeyboardInterrupt", "interrupted from the keyboard"),
        (SystemExit(), "success", None, None),
        (SystemExit(0), "success", None, None),
        (SystemExit(3), "error", "SystemExit", "exit code 3"),
        (SystemExit("no disk"), "error", "SystemExit", "exit code no disk"),
        (GeneratorExit(), "cancellation", None, None),
        (asyncio.CancelledError(), "cancellation", None, None),
        (TimeoutError("late"), "timeout", "TimeoutError", "TimeoutError: late"),
        (TaskTimeoutError(), "timeout", f"{__name__}.TaskTimeoutError", "TaskTimeoutError"),
        (subprocess.TimeoutExpired("x", 1), "error", "subprocess.TimeoutExpired", None),
        (MemoryError(), "error", "MemoryError", "MemoryError"),
        (
            WithoutWordsError(),
            "error",
            f"{__name__}.WithoutWordsError",
            "WithoutWordsError: <unprintable WithoutWordsError>",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_how_it_ended(
    recorded: Recording, error: BaseException, result: str, error_type: str | None, description: str | None
) -> None:
    with pytest.raises(type(error)) as caught, crucible.stage("s"):
        raise error
    assert caught.value is error
    tree = recorded.tree(RESULT, TYPE)
    assert tree.attributes == {RESULT: result} | ({TYPE: error_type} if error_type else {})
    assert tree.events == (["exception"] if error_type else [])
    assert (tree.error is not None) == (error_type is not None)
    if description:
        assert tree.error == description


def test_timeouts_of_asyncio_are_timeouts() -> None:
    assert outcome_of(asyncio.TimeoutError()).result == "timeout"


def test_the_innermost_operation_of_a_loop_is_the_epoch(recorded: Recording) -> None:
    with pytest.raises(ValueError, match="nan"), crucible.pipeline("p"), crucible.training_run("r") as run:
        for epoch in run.epochs(5):
            epoch.record_step(loss=1.0)
            if epoch.index == 1:
                raise ValueError("nan")
    failed = {"attributes": BAD, "error": "ValueError: nan"}
    assert recorded.tree(RESULT, TYPE) == node(
        "pipeline p",
        "p",
        node(
            "training_run",
            "r",
            node("epoch", "epoch 0", attributes=OK, events=["steps_recorded"]),
            node("epoch", "epoch 1", events=["exception", "steps_recorded"], **failed),
            **failed,
        ),
        **failed,
    )


@pytest.mark.parametrize("keep", [False, True], ids=["loop", "loop in a variable"])
def test_a_loop_that_is_broken_off(recorded: Recording, *, keep: bool) -> None:
    with crucible.training_run("r") as run:
        epochs = run.epochs(5)
        kept = [epochs] if keep else []
        for index, _ in enumerate(epochs):
            epochs = iter(())
            if index == 1:
                break
        run.stop_early("no progress")
    with crucible.stage("after"):
        pass
    kept.clear()
    assert recorded.trees(RESULT) == [
        node(
            "training_run",
            "r",
            node("epoch", "epoch 0", attributes=OK),
            node("epoch", "epoch 1", attributes=OK),
            attributes=OK,
            events=["early_stopped"],
        ),
        node("stage after", "after", attributes=OK),
    ]


def test_an_exception_in_a_loop_that_is_still_held(recorded: Recording) -> None:
    error = ValueError("x")
    with pytest.raises(ValueError, match="x"), crucible.training_run("r") as run:
        epochs = run.epochs(5)
        for _ in enumerate(epochs):
            raise error
    with crucible.stage("after"):
        pass
    assert [(tree.name, tree.events) for tree in recorded.trees()] == [("training_run", []), ("stage after", [])]
    assert recorded.trees()[0].inside == [node("epoch", "epoch 0", events=["exception"], error="ValueError: x")]
    assert vars(error) == {}
    del epochs
    assert len(recorded.spans) == 3


def test_a_loop_whose_run_has_ended_before_it(recorded: Recording) -> None:
    run = crucible.training_run("r").start()
    loop = iter(run.epochs(3))
    next(loop)
    run.stop()
    next(loop)
    del loop
    assert [said(span)[attr.CRUCIBLE_ABOUT] for span in recorded.spans] == ["r", "epoch 0", "epoch 1"]


def test_a_loop_that_outlives_the_stage_around_it(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        with crucible.stage("s"):
            loop = iter(run.epochs(3))
            next(loop)
        del loop
    assert recorded.tree() == node("training_run", "r", node("stage s", "s", node("epoch", "epoch 0")))
