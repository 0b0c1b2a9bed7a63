"""Context in child processes, threads and executors: what is recorded there lies below what was current here."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry import context as context_api

import crucible_trace_otel as crucible
from crucible_trace_otel.record.processes import _process
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import node, said
from tests.record.test_processes import python

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.record.reading import Recording

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NAMES = {"TRACEPARENT", "TRACESTATE", "BAGGAGE"}


def carried(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.upper() in NAMES}


def test_a_child_is_told_the_operation_and_the_run(recorded: Recording) -> None:
    given = {"HOME": "/home/a"}
    with crucible.training_run("digits", run_id="job 17,ü") as run, crucible.stage("inside") as stage:
        environment = crucible.child_environment(given)
    context = stage.span_context
    assert environment == {
        "HOME": "/home/a",
        "TRACEPARENT": f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}",
        "BAGGAGE": "crucible.run.id=job+17%2C%C3%BC",
    }
    assert given == {"HOME": "/home/a"}
    assert run.run_id == "job 17,ü"


def test_the_environment_of_this_process_is_taken_and_left_as_it_is(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMETHING", "else")
    before = dict(os.environ)
    with crucible.stage("s"):
        environment = crucible.child_environment()
    assert environment["SOMETHING"] == "else"
    assert set(environment) - set(before) == {"TRACEPARENT"}
    assert dict(os.environ) == before


def test_without_anything_current_a_child_is_told_what_its_parent_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TRACEPARENT": PARENT, "TRACESTATE": "a=b", "BAGGAGE": "crucible.run.id=r,mine=1"}.items():
        monkeypatch.setenv(name, value)
    assert carried(crucible.child_environment()) == {
        "TRACEPARENT": PARENT,
        "TRACESTATE": "a=b",
        "BAGGAGE": "crucible.run.id=r,mine=1",
    }


def test_what_is_newer_replaces_what_was_handed_down(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = {"traceparent": PARENT, "TRACESTATE": "a=b", "baggage": "crucible.run.id=old,mine=1"}
    for name, value in stale.items():
        monkeypatch.setenv(name, value)
    token = context_api.attach(baggage.set_baggage("theirs", "2"))
    with crucible.training_run("digits", run_id="new") as run:
        environment = carried(crucible.child_environment())
    context_api.detach(token)
    assert environment["TRACEPARENT"].split("-")[1:3] == [PARENT.split("-")[1], f"{run.span_context.span_id:016x}"]
    assert sorted(environment["BAGGAGE"].split(",")) == ["crucible.run.id=new", "mine=1", "theirs=2"]
    assert environment.keys() == {"TRACEPARENT", "TRACESTATE", "BAGGAGE"}
    assert environment["TRACESTATE"] == "a=b"  # that of the parent, which this trace is part of


def test_small_letters_are_read_and_capitals_count_first(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("traceparent", PARENT)
    with crucible.stage("small"):
        pass
    monkeypatch.setenv("TRACEPARENT", PARENT.replace("b7ad", "aaaa"))
    with crucible.stage("capitals"):
        pass
    assert [f"{span.parent.span_id:016x}" for span in recorded.spans] == ["b7ad6b7169203331", "aaaa6b7169203331"]


def test_a_child_says_which_run_it_belongs_to(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAGGAGE", "crucible.run.id=job+17%2C%C3%BC,crucible.experiment.id=e,else=x")
    with crucible.pipeline("p") as pipeline, pipeline.stage("s"):
        pass
    with crucible.training_run("own", run_id="own"):
        pass
    for span in recorded.spans[:2]:
        assert said(span)[attr.CRUCIBLE_RUN_ID] == "job 17,ü"
        assert said(span)[attr.CRUCIBLE_EXPERIMENT_ID] == "e"
        assert "else" not in said(span)
    assert said(recorded.spans[2])[attr.CRUCIBLE_RUN_ID] == "own"


def test_baggage_that_is_no_text_costs_only_that(monkeypatch: pytest.MonkeyPatch, warned: list[str]) -> None:
    monkeypatch.setenv("BAGGAGE", f"{attr.CRUCIBLE_RUN_ID}=r,other=\udcff")
    _process._forget()
    assert _process.process_facts()[attr.CRUCIBLE_RUN_ID] == "r"
    assert warned == []


@given(st.text(max_size=80).filter(lambda text: "\0" not in text))
def test_no_baggage_raises(said_there: str) -> None:
    before = os.environ.get("BAGGAGE")
    try:
        os.environ["BAGGAGE"] = said_there
    except UnicodeEncodeError:  # the system has no such text
        return
    try:
        _process._forget()
        facts = _process.process_facts()
        assert all(isinstance(value, str) and value for value in facts.values())
        crucible.child_environment()
    finally:
        os.environ.pop("BAGGAGE") if before is None else os.environ.__setitem__("BAGGAGE", before)
        _process._forget()


@given(st.text(max_size=40).filter(lambda text: text.strip() == text != ""))
def test_any_run_id_reaches_a_child_as_it_is(run_id: str) -> None:
    environment: dict[str, str] = {}
    token = context_api.attach(baggage.set_baggage(attr.CRUCIBLE_RUN_ID, run_id))
    try:
        environment = crucible.child_environment({})
    finally:
        context_api.detach(token)
    read = {"BAGGAGE": environment["BAGGAGE"]}
    assert _handed(read) == run_id.encode("utf-8", "replace").decode()[:256]


def _handed(environment: dict[str, str]) -> str:
    os.environ.update(environment)
    try:
        _process._forget()
        return str(_process.process_facts()[attr.CRUCIBLE_RUN_ID])
    finally:
        for name in environment:
            del os.environ[name]
        _process._forget()


def test_a_real_child_records_below(recorded: Recording) -> None:
    program = """
        from tests.record.reading import Recording
        import crucible_trace_otel as crucible
        from crucible_trace_otel.record._tracer import use_tracer_provider
        recorded = Recording()
        use_tracer_provider(recorded.provider)
        with crucible.stage("evaluate"):
            pass
        span = recorded.one("stage evaluate")
        print(f"{span.context.trace_id:x}", f"{span.parent.span_id:x}", span.attributes["crucible.run.id"])
    """
    with pytest.MonkeyPatch.context() as patch, crucible.training_run("digits", run_id="r") as run:
        for name, value in crucible.child_environment({}).items():
            patch.setenv(name, value)
        words = python(program)
    assert words == [f"{run.span_context.trace_id:x}", f"{run.span_context.span_id:x}", "r"]


def test_work_of_an_executor_lies_below_what_submitted_it(recorded: Recording) -> None:
    def read(path: str) -> str:
        with crucible.stage(path):
            return path.upper()

    with ThreadPoolExecutor(2) as pool, crucible.pipeline("p") as pipeline:
        with pipeline.stage("load"):
            assert list(pool.map(crucible.in_context(read), ["a", "b"])) == ["A", "B"]
        assert pool.submit(read, "lost").result() == "LOST"
    load, lost = recorded.trees()
    assert sorted(inside.about for inside in load.inside[0].inside) == ["a", "b"]
    assert lost.about == "lost"
    assert crucible.in_context(read).__name__ == "read"


def test_what_the_function_does_with_its_context_stays_there(recorded: Recording) -> None:
    seen: list[object] = []

    def leaves_open() -> None:
        crucible.stage("left open").start()

    def work() -> None:
        wrapped()
        seen.append(crucible.current_operation())

    with crucible.pipeline("p"):
        wrapped = crucible.in_context(leaves_open)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [None]


def test_exceptions_and_results_go_on_unchanged(recorded: Recording) -> None:
    def fails() -> None:
        raise ValueError("boom")

    with crucible.stage("s"), pytest.raises(ValueError, match="boom"):
        crucible.in_context(fails)()
    assert crucible.in_context(max)(1, 2) == 2


def test_a_coroutine_function_is_carried_too(recorded: Recording) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        with crucible.stage("inside"):
            return 1

    with crucible.pipeline("p"):
        wrapped = crucible.in_context(work)
        results: list[int] = []
        thread = threading.Thread(target=lambda: results.append(asyncio.run(wrapped())))
        thread.start()
        thread.join()
    assert results == [1]
    assert recorded.trees() == [node("pipeline p", "p", node("stage inside", "inside"))]


def test_an_operation_that_has_ended_is_replaced_by_the_one_around_it(recorded: Recording) -> None:
    def work() -> None:
        with crucible.stage("late"):
            pass

    with crucible.pipeline("p"):
        with crucible.stage("short"):
            wrapped = crucible.in_context(work)
        wrapped()
    assert recorded.trees() == [node("pipeline p", "p", node("stage short", "short"), node("stage late", "late"))]


@pytest.mark.parametrize("env", [5, "x", object(), [("A", "b", "c")]], ids=str)
def test_what_is_no_environment_is_that_of_this_process(recorded: Recording, warned: list[str], env: Any) -> None:
    with crucible.stage("outer"):
        environment = crucible.child_environment(env)
    assert {name: environment[name] for name in os.environ} == dict(os.environ)
    assert "TRACEPARENT" in environment
    assert len(warned) == 1


def test_names_that_are_no_text_keep_no_context_from_a_child(recorded: Recording, warned: list[str]) -> None:
    with crucible.stage("outer"):
        environment = crucible.child_environment({b"A": b"b", 1: 2})  # type: ignore[dict-item]
    assert list(environment) == [b"A", 1, "TRACEPARENT"]
    assert warned == []


def test_an_object_that_is_called_as_a_coroutine_function_is_carried(recorded: Recording) -> None:
    class Loader:
        async def __call__(self) -> None:
            await asyncio.sleep(0)
            with crucible.stage("inner"):
                pass

    async def main() -> None:
        with crucible.stage("outer"):
            load = crucible.in_context(Loader())
            with crucible.stage("other"):
                waiting = asyncio.create_task(load())
                await waiting

    asyncio.run(main())
    assert recorded.tree() == node("stage outer", "outer", node("stage other", "other"), node("stage inner", "inner"))


def test_a_generator_function_is_said_to_be_recorded_where_it_is_looped_over(
    recorded: Recording, warned: list[str]
) -> None:
    def rows() -> Iterator[int]:
        with crucible.stage("inner"):
            yield 1

    with crucible.stage("outer"):
        carried = crucible.in_context(rows)
    assert list(carried()) == [1]
    assert [tree.about for tree in recorded.trees()] == ["outer", "inner"]
    assert len(warned) == 1
    assert "a generator runs where it is looped over" in warned[0]
