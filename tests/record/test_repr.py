"""What a notebook shows of operations and of what verbs return."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._recorded import Judged
from crucible_trace_otel.record.reasoning import Decision

if TYPE_CHECKING:
    from tests.record.reading import Recording


def test_an_operation_says_what_it_is_and_how_far(recorded: Recording) -> None:
    run = crucible.training_run("digits")
    assert repr(run) == '<training_run "digits", not started>'
    with run:
        assert repr(run) == f'<training_run "digits", open, {run.event_id}>'
        for epoch in run.epochs(1):
            assert str(epoch) == f'<epoch "epoch 0", open, {epoch.event_id}>'
    assert repr(run) == f'<training_run "digits", ended, {run.event_id}>'


def test_what_a_verb_returned_says_what_it_is(recorded: Recording) -> None:
    with crucible.reasoning_chain("choose") as chain:
        decision = chain.form_hypothesis("an LRU\ndict", confidence=0.6)
    assert repr(decision) == f'<hypothesis_formed "an LRU dict", {decision.event_id}>'
    assert decision == copy.copy(decision)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_what_is_not_recorded_says_so(ratio: float, request: pytest.FixtureRequest) -> None:
    if not ratio:  # nothing is set up with the other
        request.getfixturevalue("recorded")
    served = crucible.deployment("api", inference_ratio=ratio)
    with served, served.inference("read") as inference:
        assert repr(inference) == '<inference "read", not recorded>'
    assert repr(inference) == '<inference "read", not recorded>'


def test_nothing_is_said_of_what_is_half_made() -> None:
    for kind in (Operation, Decision, Judged):
        assert repr(kind.__new__(kind)).startswith("<")  # as a debugger does within `__init__`
