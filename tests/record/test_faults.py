"""Faults inside: whatever breaks in the recorder or behind it, the program it records does not notice."""

from __future__ import annotations

import inspect
import sys
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

import crucible_trace_otel as crucible
from crucible_trace_otel import record
from crucible_trace_otel.record._tracer import use_tracer_provider
from tests.record.scenario import PIPELINED, RESULTS, run_pipelines, run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.record.reading import Recording

SURFACE = {
    *crucible.__all__,
    *("__init__", "start", "_start_inside", "stop", "fail", "__enter__", "__exit__", "__call__"),
    *("epoch", "epochs", "__iter__", "__next__", "stage", "inference", "save_checkpoint", "load_checkpoint"),
    "a_b_test",
    *("save_model", "load_model", "perform", "digest", "_prepare", "_open_windows", "_fresh", "_result", "traced"),
    *("record_step", "_take_step", "step_recorder", "track", "validation_run", "trial", "__len__", "_bar"),
}
"""What the user calls, and what makes an operation: nothing here but calls of what is broken below."""
FORGIVING = {
    *("stage", "inference", "save_checkpoint", "load_checkpoint", "save_model", "load_model"),
    *("track", "validation_run", "tuning_study", "trial", "attempts", "skip_stage", "a_b_test"),
}
OF_PIPELINES = {
    *("_artifacts", "_attempts", "_contents", "_data", "_schema", "_stage_data", "_stage_items", "_stage_memory"),
    *("_stage_order", "_state_file", "_tables"),
}
"""What pipelines alone go through."""
DECIDING = {
    *("is_wanted_after", "seconds_after", "retrying", "retried", "_goes_on", "_pause", "_next", "_is_on_event_loop"),
    *("_attempt_of", "_tried_once", "each", "map", "_apply", "_bound"),
}
"""What the program itself goes by: whether it is tried again, which item is next."""
"""What drops keywords it does not know, and lets the user's own exceptions pass."""
SAFE = {
    *(
        "printable",
        "one_line",
        "with_template",
        "new_event_id",
        "guarded",
        "forgiving",
        "decorate",
        "nothing",
        "warn_once",
    ),
    *("digest_later", "drain", "give_up", "use_tracer_provider", "_traced_generator", "_traced_async_generator"),
    *("_work", "_forget", "_close", "Living"),
}
"""What catches everything itself, or cannot fail."""


def modules() -> Iterator[Any]:
    for module in iter_modules(record.__path__, f"{record.__name__}."):
        yield __import__(module.name, fromlist=["_"])


def internals() -> Iterator[tuple[str, Any, str, Any]]:
    """Each function of the recorder that can be made to raise: its name, and where it is bound."""
    for module in modules():
        for name, found in vars(module).items():
            if getattr(found, "__module__", None) != module.__name__ or name in SAFE:
                continue
            if inspect.isfunction(found) and name not in SURFACE | DECIDING:
                yield f"{module.__name__.rpartition('.')[2]}.{name}", module, name, found
            elif inspect.isclass(found):
                for inner, method in vars(found).items():
                    if (
                        inspect.isfunction(method)
                        and not inner.startswith("__")
                        and inner not in FORGIVING | DECIDING
                        and (hasattr(method, "__wrapped__") or inner not in SURFACE)
                    ):
                        yield f"{found.__name__}.{inner}", found, inner, method


INTERNALS = list(internals())


def failing(hits: list[str], name: str) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        hits.append(name)
        raise RuntimeError(f"broken {name}")

    return fail


def break_function(patch: pytest.MonkeyPatch, owner: Any, name: str, found: Any, fail: Any) -> None:
    """Make `found` raise wherever it is bound; of a guarded function, what is inside the guard."""
    if hasattr(found, "__wrapped__"):
        cell = next(cell for cell in found.__closure__ if cell.cell_contents is found.__wrapped__)
        patch.setattr(cell, "cell_contents", fail)
        return
    patch.setattr(owner, name, fail)
    for module in modules():
        if vars(module).get(name) is found:
            patch.setattr(module, name, fail)


@pytest.mark.parametrize("internal", INTERNALS, ids=[internal[0] for internal in INTERNALS])
def test_a_function_of_the_recorder_that_raises(
    recorded: Recording,
    warned: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    internal: tuple[str, Any, str, Any],
) -> None:
    label, owner, name, found = internal
    hits: list[str] = []
    with monkeypatch.context() as patch:
        break_function(patch, owner, name, found, failing(hits, label))
        if found.__module__.rpartition(".")[2] in OF_PIPELINES:
            assert run_pipelines(tmp_path) == PIPELINED
        else:
            assert run_scenario(tmp_path) == RESULTS
    assert not hits or warned
    leaves = {
        "_leave",
        "_abandon",
        "_finish",
        "_end",
        "living_context",
    }  # these broken, the last operation stays current
    assert name in leaves or not trace_api.get_current_span().get_span_context().is_valid


class BrokenSpan(trace_api.Span):
    """A span of the SDK, one of whose methods raises."""

    def __init__(self, inner: trace_api.Span, broken: str) -> None:
        self._inner = inner
        self._broken = broken

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, "__dict__")
        if name == own["_broken"]:
            raise RuntimeError(f"broken {name}")
        return getattr(own["_inner"], name)


for _name in trace_api.Span.__abstractmethods__:
    setattr(BrokenSpan, _name, None)
BrokenSpan.__abstractmethods__ = frozenset()


class BrokenTracer(trace_api.Tracer):
    def __init__(self, inner: trace_api.Tracer, broken: str) -> None:
        self.inner = inner
        self.broken = broken

    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        if self.broken == "start_span":
            raise RuntimeError("broken start_span")
        return BrokenSpan(self.inner.start_span(*args, **kwargs), self.broken)

    def start_as_current_span(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError


class BrokenProvider(trace_api.TracerProvider):
    def __init__(self, inner: trace_api.TracerProvider, broken: str) -> None:
        self.inner = inner
        self.broken = broken

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace_api.Tracer:
        if self.broken == "get_tracer":
            raise RuntimeError("broken get_tracer")
        return BrokenTracer(self.inner.get_tracer(*args, **kwargs), self.broken)


@pytest.mark.parametrize(
    "broken",
    [
        "get_tracer",
        "start_span",
        *("set_attribute", "add_event", "add_link", "set_status", "end", "is_recording"),
        "get_span_context",
    ],
)
def test_a_tracer_that_raises(recorded: Recording, warned: list[str], tmp_path: Path, broken: str) -> None:
    use_tracer_provider(BrokenProvider(recorded.provider, broken))
    assert run_scenario(tmp_path) == RESULTS
    assert warned
    use_tracer_provider(recorded.provider)
    crucible.stage("after").start().stop()
    assert recorded.trees()[-1].name == "stage after"


@pytest.mark.parametrize("method", ["on_start", "on_end"])
def test_a_span_processor_that_raises(warned: list[str], tmp_path: Path, method: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    hits: list[str] = []
    provider.add_span_processor(type("Broken", (SpanProcessor,), {method: failing(hits, method)})())
    use_tracer_provider(provider)
    before = context_api.get_current()
    assert run_scenario(tmp_path) == RESULTS
    assert hits
    assert warned
    assert context_api.get_current() == before


def test_an_id_generator_and_a_sampler_that_raise(warned: list[str], tmp_path: Path) -> None:
    generator = type("Broken", (RandomIdGenerator,), {"generate_span_id": failing([], "generate_span_id")})()
    sampler = type("Broken", (type(ALWAYS_ON),), {"should_sample": failing([], "should_sample")})(ALWAYS_ON._decision)
    for provider in (
        TracerProvider(id_generator=generator, shutdown_on_exit=False),
        TracerProvider(sampler=sampler, shutdown_on_exit=False),
    ):
        use_tracer_provider(provider)
        assert run_scenario(tmp_path) == RESULTS
    assert len(warned) >= 2


def test_a_log_handler_that_raises(recorded: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hits: list[str] = []
    monkeypatch.setattr(crucible.errors.logger, "warning", failing(hits, "warning"))
    monkeypatch.setattr(sys.modules["crucible_trace_otel.record._operation"], "clean", failing([], "clean"))
    assert run_scenario(tmp_path) == RESULTS
    assert hits


def test_the_scenario_as_it_should_be(recorded: Recording, warned: list[str], tmp_path: Path) -> None:
    assert run_scenario(tmp_path) == RESULTS
    assert len(warned) == 13, "an unknown target, a cycle, an unknown stage, a digest that is none, nine of deployments"
    assert len(recorded.trees()) == 12
