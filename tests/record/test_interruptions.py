"""What a signal handler of the program raises while our code runs goes on, and the record stays."""

from __future__ import annotations

import gc
import random
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel._interruption import is_from_handler
from crucible_trace_otel.journal.encoder import encode_span
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.record._operation import emit_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from tests.record.reading import Recording

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers of POSIX")


class LimitError(TimeoutError):
    """Of time."""


def stop(number: int, frame: FrameType | None) -> None:
    raise LimitError


class Handler:
    """Handlers come in many forms."""

    def method(self, number: int, frame: FrameType | None) -> None:
        self._raise()

    def __call__(self, *given: object) -> None:
        self._raise()

    def _raise(self) -> None:
        raise LimitError


def stop_with_defaults(number: int = 0, frame: FrameType | None = None, /, *more: object) -> None:
    stop(number, frame)


HANDLERS = [stop, Handler().method, Handler(), stop_with_defaults, lambda *given: Handler()(given)]


class Interrupting:
    """A value that a signal comes in while it is read."""

    def __str__(self) -> str:
        signal.raise_signal(signal.SIGALRM)
        return "read"

    __float__ = __str__


class Failing:
    """A value that cannot be read; nothing of the program's handlers."""

    def __str__(self) -> str:
        raise LimitError

    __float__ = __str__


@pytest.fixture(autouse=True)
def _handled() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("handler", HANDLERS)
def test_it_is_told_by_how_it_was_called(handler: Callable[..., Any]) -> None:
    signal.signal(signal.SIGALRM, handler)
    with pytest.raises(LimitError) as caught:
        signal.raise_signal(signal.SIGALRM)
    assert is_from_handler(caught.value)


def test_what_anything_else_raises_is_none() -> None:
    def given_a_number_and_a_frame(number: int, frame: object) -> None:
        raise LimitError

    for call in (lambda: given_a_number_and_a_frame(14, None), lambda: str(Failing()), lambda: stop(14, None)):
        with pytest.raises(LimitError) as caught:
            call()
        assert not is_from_handler(caught.value)
    assert not is_from_handler(LimitError())


def hypothesis_with(chain: Any, run: Any, value: object) -> None:
    chain.form_hypothesis(value, confidence=0.5)


def confidence_with(chain: Any, run: Any, value: object) -> None:
    chain.form_hypothesis("h", confidence=value)


def metric_with(chain: Any, run: Any, value: object) -> None:
    run.record_validation(accuracy=value)


def name_with(chain: Any, run: Any, value: object) -> None:
    run.record_validation(accuracy=1, more={value: 1})


def event_with(chain: Any, run: Any, value: object) -> None:
    emit_event(run, "early_stopped", {"crucible.training.stop_reason": value})


def attribute_with(chain: Any, run: Any, value: object) -> None:
    run.set({"crucible.training.patience": value})


def step_with(chain: Any, run: Any, value: object) -> None:
    run.record_step(loss=value)


def long_list_with(chain: Any, run: Any, value: object) -> None:
    crucible.training_run("r", hyperparameters={"deep": [value] * 20})


def opened_with(chain: Any, run: Any, value: object) -> None:
    class Parts(dict[str, Any]):
        def items(self) -> Any:
            return str(value)

    crucible.training_run("r", hyperparameters=Parts(deep=Parts(a=1)))


CALLS = [
    *(hypothesis_with, metric_with, name_with, event_with, attribute_with, step_with, confidence_with),
    *(long_list_with, opened_with),
]


def test_it_goes_on_from_what_is_called_for_an_abnormal_step(recorded: Recording) -> None:
    policy = crucible.WindowPolicy(on_abnormal=lambda _: signal.raise_signal(signal.SIGALRM))
    with crucible.training_run("r", windows=policy) as run, pytest.raises(LimitError):
        run.record_step(loss=float("nan"))


@pytest.mark.parametrize("call", CALLS)
def test_a_limit_of_time_that_comes_inside_a_call_goes_on(recorded: Recording, call: Callable[..., None]) -> None:
    with crucible.reasoning_chain("c") as chain, crucible.training_run("r") as run:
        with pytest.raises(LimitError):
            call(chain, run, Interrupting())
        call(chain, run, Failing())  # that is nobody's limit
        run.record_step(loss=1.0)
    assert {span.name for span in recorded.spans} >= {"reasoning_chain", "training_run"}
    assert recorded.rows()[-1]["loss"] == 1.0


def test_a_block_that_is_not_entered_leaves_nothing_open(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline:
        with pytest.raises(LimitError), crucible.stage("s", config={"a": Interrupting()}):
            pytest.fail("never entered")
        assert crucible.current_operation() is pipeline
        with crucible.stage("t"):
            pass
    assert [span.name for span in recorded.spans] == ["pipeline p", "stage t"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("where", ["append_span", "append"])
def test_a_span_is_kept_whenever_in_its_end_the_limit_comes(tmp_path: Path, when: str, where: str) -> None:
    handle = crucible.configure(journal=tmp_path)
    segments = handle._recorder.journal.writer.segments
    appending = getattr(segments, where)
    with pytest.raises(LimitError), crucible.stage("s"):

        def interrupted(*arguments: Any, **options: Any) -> Any:
            setattr(segments, where, appending)
            if when == "before":
                signal.raise_signal(signal.SIGALRM)
            result = appending(*arguments, **options)
            signal.raise_signal(signal.SIGALRM)
            return result

        setattr(segments, where, interrupted)
        if where == "append":
            raise LimitError  # no such call is made for a span
    report = crucible.shutdown()
    assert (report.recorded, report.stored, report.lost) == (1, 1, 0)
    assert len(read_directory(tmp_path).spans) == 1


@pytest.fixture
def _no_collections() -> Iterator[None]:
    """Python drops what is raised in a callback of the garbage collector, and test tools have some."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collections")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what is raised in finalizers
@pytest.mark.parametrize("work", ["step", "stage", "moment"])
def test_at_any_instant_it_goes_on_and_nothing_that_returned_is_lost(tmp_path: Path, work: str) -> None:
    chance = random.Random(7)
    crucible.configure(journal=tmp_path)
    raised, seen, returned = 0, 0, 0

    def limit(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        raised += 1
        raise LimitError

    signal.signal(signal.SIGALRM, limit)
    with crucible.training_run("r") as run:
        for _ in range(200):
            before = raised
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))
                while raised == before:
                    if work == "step":
                        run.record_step(loss=1.0, number=returned)
                    elif work == "stage":
                        with crucible.stage("s", config={"a": [1, {"b": 2}]}):
                            pass
                    else:
                        run.record_validation(accuracy=0.5)
                    returned += 1
            except LimitError:
                seen += 1
    report = crucible.shutdown()
    assert raised == 200
    assert seen >= 190  # Python itself drops what is raised in a finalizer
    assert report.lost == 0
    trace = crucible.open_store(tmp_path).latest()
    if work == "step":
        kept = {row["number"] for row in crucible.step_rows(trace).rows}
        assert kept >= set(range(returned))
    else:
        name = "stage" if work == "stage" else "validation_run"
        assert sum(span.name.startswith(name) for span in trace.spans) >= returned


def test_a_span_that_the_encoder_was_interrupted_in_is_whole(recorded: Recording) -> None:
    with recorded.foreign.start_as_current_span("s") as span:
        span.set_attribute("a", 1)
    whole = encode_span(recorded.one("s"))
    for _ in range(50):
        with suppress(LimitError):
            signal.setitimer(signal.ITIMER_REAL, 0.0002)  # it may be over before this returns
            while True:
                assert encode_span(recorded.one("s")) == whole
