"""Nothing at import, nothing without `configure()`; ids that no seed repeats and no fork shares."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.journal.process import run

if TYPE_CHECKING:
    from pathlib import Path

NO_CACHE = {"PYTHONDONTWRITEBYTECODE": "1"}  # else the interpreter itself writes files
WATCH = """
import os, random, sys, threading
seen = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append((event, str(arguments[0])))
    elif event.startswith(("socket.", "_thread.start", "os.mkdir", "subprocess.", "os.fork", "os.rename")):
        seen.append((event, str(arguments)[:80]))
sys.addaudithook(watch)
state = random.getstate()
import crucible_trace_otel as crucible
"""
EVERYTHING = """
@crucible.stage("decorated")
def work():
    return 1
with crucible.pipeline("p") as pipeline, crucible.stage("s"):
    work()
with crucible.reasoning_chain("q") as chain:
    h = chain.form_hypothesis("h", confidence=0.5)
    chain.update_confidence(h, 0.6)
with crucible.training_run("r", hyperparameters={"lr": 0.1}) as run:
    for epoch in run.epochs(2):
        for _ in range(150):
            epoch.record_step(loss=1.0)
        epoch.record_validation(accuracy=1.0)
with crucible.deployment("d"), crucible.inference("i"):
    pass
"""
TELL = """
assert threading.active_count() == 1, threading.enumerate()
assert random.getstate() == state
print(seen)
"""


def test_importing_opens_nothing_and_starts_nothing(tmp_path: Path) -> None:
    everything = "[getattr(crucible, name) for name in crucible.__all__]"
    out, _ = run(WATCH + everything + TELL, tmp_path, **NO_CACHE)
    assert out == "[]\n"
    assert list(tmp_path.iterdir()) == []


def test_without_configure_every_call_does_nothing(tmp_path: Path) -> None:
    no_sdk = "assert 'opentelemetry.sdk.trace' not in sys.modules"
    out, complaints = run(WATCH + EVERYTHING + TELL + no_sdk, tmp_path, **NO_CACHE)
    assert (out, complaints) == ("[]\n", "")
    assert list(tmp_path.iterdir()) == []


def test_without_an_endpoint_no_socket_is_opened_and_no_thread_stays(tmp_path: Path) -> None:
    configured = "crucible.configure(service_name='s')\n"
    out, complaints = run(WATCH + configured + EVERYTHING + "crucible.shutdown()\n" + TELL, tmp_path, **NO_CACHE)
    assert complaints == ""
    assert "socket" not in out
    assert ".segment" in out


IDS = """
import random
random.seed(0)
state = random.getstate()
import crucible_trace_otel as crucible
crucible.configure(service_name="s")
with crucible.stage("a") as stage, crucible.training_run("r", run_id="the run") as inner:
    pass
with crucible.training_run("r", run_id="the run") as training:
    pass
assert random.getstate() == state
for operation in (stage, inner, training):
    print(operation.span_context.trace_id, operation.span_context.span_id, operation.event_id)
"""


def test_a_seed_repeats_no_id_and_a_run_id_the_trace_id(tmp_path: Path) -> None:
    first, second = ([line.split() for line in run(IDS, tmp_path)[0].splitlines()] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one[1] != other[1]
        assert one[2] != other[2]
    assert first[0][0] != second[0][0]
    assert first[1][0] == first[0][0]
    assert first[2][0] == second[2][0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_draws_ids_of_its_own(tmp_path: Path) -> None:
    code = """
    import os
    import crucible_trace_otel as crucible
    crucible.configure(service_name="s")
    with crucible.stage("before"):
        pass
    for _ in range(3):
        if os.fork() == 0:
            for _ in range(20):
                with crucible.stage("child"):
                    pass
            os._exit(0)
    for _ in range(20):
        with crucible.stage("parent"):
            pass
    for _ in range(3):
        os.wait()
    traces = crucible.open_store().traces()
    ids = [(trace.trace_id, span.span_id) for trace in traces for span in trace.spans]
    print(len(ids), len({a for a, _ in ids}), len({b for _, b in ids}))
    """
    assert run(code, tmp_path)[0].split() == ["81", "81", "81"]
