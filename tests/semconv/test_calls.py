"""Which call records what: the list is whole, and what it names is there."""

import inspect
from pathlib import Path

import pytest

import crucible_trace_otel as crucible
from semconv.calls import link_types, load_calls
from semconv.generate import ROOT
from semconv.registry import load
from tests.semconv.models import WORK, area, marked_lines, metric, write_model

SMALL = area("spans:\n" + WORK + "metrics:\n" + metric("crucible.cost"))
REGISTRY, _ = load(ROOT / "semconv/model")
CALLS = load_calls(ROOT / "semconv/calls.yaml", REGISTRY, _)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_every_call_is_public_and_has_a_docstring(call) -> None:
    found = crucible
    for name in call.name.split("."):
        found = getattr(found, name)
    assert call.name.partition(".")[0] in crucible.__all__
    assert inspect.getdoc(found)


def test_every_name_of_the_convention_is_recorded_by_a_call() -> None:
    told = {name for call in CALLS for name in (*call.records, *call.links, *call.metrics)}
    spans = {name for name, span in REGISTRY.spans.items() if span.boundary is None}
    events = {
        name
        for name, event in REGISTRY.events.items()
        if event.boundary is None and not event.foreign and event.deprecated is None
    }
    missing = (spans | events | link_types(REGISTRY).keys() | REGISTRY.metrics.keys()) - told
    assert not missing


def test_what_the_model_lacks_and_what_is_listed_twice_is_refused(tmp_path: Path) -> None:
    calls = """
        calls:
          - {call: do, records: [work], metrics: [crucible.cost]}
          - {call: other, records: [play]}  # <--
          - {call: linked, links: [near]}  # <--
          - {call: do, records: [work]}  # <--
          - {records: [work]}  # <--
    """
    registry, refusals = load(write_model(tmp_path, {"model/small.yaml": SMALL, "calls.yaml": calls}))
    assert [call.name for call in load_calls(tmp_path / "calls.yaml", registry, refusals)][:1] == ["do"]
    assert [line.rsplit(": ", 1)[0].partition(": ")[0] for line in refusals] == marked_lines(tmp_path)


def test_a_convention_without_the_list_has_no_calls(tmp_path: Path) -> None:
    registry, refusals = load(write_model(tmp_path, {"model/small.yaml": SMALL}))
    assert load_calls(tmp_path / "calls.yaml", registry, refusals) == ()
