"""What went wrong with stages in the library before this one, and does not here."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULT = attr.CRUCIBLE_OPERATION_RESULT


def read_rows() -> None:
    raise ValueError("bad row")


def test_t1_an_exception_goes_on_unchanged_with_its_traceback(recorded: Recording) -> None:
    error_before: list[BaseException] = []

    @crucible.stage("clean")
    def clean() -> None:
        try:
            read_rows()
        except ValueError as error:
            error_before.append(error)
            raise

    with pytest.raises(ValueError, match="bad row") as caught, crucible.pipeline("p"):
        clean()
    assert caught.value is error_before[0]
    assert vars(caught.value) == {}
    assert "read_rows" in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    (event,) = recorded.one("stage clean").events
    assert event.attributes is not None
    assert "in read_rows" in str(event.attributes["exception.stacktrace"])
    assert recorded.tree(RESULT, attr.ERROR_TYPE) == node(
        "pipeline p",
        "p",
        node(
            "stage clean",
            "clean",
            attributes={RESULT: "error", attr.ERROR_TYPE: "ValueError"},
            events=["exception"],
            error="ValueError: bad row",
        ),
        attributes={RESULT: "error", attr.ERROR_TYPE: "ValueError"},
        error="ValueError: bad row",
    )


@pytest.mark.parametrize(
    ("error", "result", "error_type"),
    [
        (KeyboardInterrupt(), "cancellation", "KeyboardInterrupt"),
        (SystemExit(3), "error", "SystemExit"),
        (SystemExit(0), "success", None),
        (TimeoutError("late"), "timeout", "TimeoutError"),
        (GeneratorExit(), "cancellation", None),
    ],
)
def test_t1_what_is_no_error_of_the_stage_is_told_apart(
    recorded: Recording, error: BaseException, result: str, error_type: str | None
) -> None:
    with pytest.raises(type(error)) as caught, crucible.pipeline("p") as pipeline, pipeline.stage("s"):
        raise error
    assert caught.value is error
    assert [(said(span)[RESULT], said(span).get(attr.ERROR_TYPE)) for span in recorded.spans] == [
        (result, error_type)
    ] * 2


def test_t1_what_is_tried_again_keeps_the_last_exception(recorded: Recording) -> None:
    raised: list[BaseException] = []

    @crucible.stage("fetch", retries=2, retry_on=OSError)
    def fetch() -> None:
        raised.append(OSError(f"no route {len(raised)}"))
        raise raised[-1]

    with pytest.raises(OSError, match="no route 2") as caught:
        fetch()
    assert caught.value is raised[-1]
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert [said(span)[attr.ERROR_TYPE] for span in recorded.spans] == ["OSError"] * 3


def test_t2_stages_and_pipelines_nest_and_each_record_knows_its_stage(recorded: Recording) -> None:
    @crucible.stage("rows")
    def rows() -> Iterator[int]:
        with crucible.stage("open"):
            yield 1
        yield 2

    with crucible.pipeline("outer") as outer, outer.stage("load") as load:
        with crucible.pipeline("inner") as inner, inner.stage("clean") as clean, crucible.reasoning_chain("q"):
            pass
        assert list(rows()) == [1, 2]
    assert recorded.tree() == node(
        "pipeline outer",
        "outer",
        node(
            "stage load",
            "load",
            node("pipeline inner", "inner", node("stage clean", "clean", node("reasoning_chain", "q"))),
            node("stage rows", "rows", node("stage open", "open")),
        ),
    )
    of_stage = {span.name: said(span).get(attr.CRUCIBLE_STAGE_ID) for span in recorded.spans}
    assert of_stage["pipeline outer"] is None
    assert of_stage["stage load"] == of_stage["pipeline inner"] == load.event_id
    assert of_stage["stage clean"] == of_stage["reasoning_chain"] == clean.event_id
    assert of_stage["stage rows"] not in (None, load.event_id)


def test_t2_one_span_has_both_start_and_end_so_it_has_a_duration(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline, pipeline.stage("outer"), pipeline.stage("inner"):
        pass
    inner, outer = recorded.one("stage inner"), recorded.one("stage outer")
    assert len(recorded.spans) == 3
    assert outer.start_time < inner.start_time <= inner.end_time <= outer.end_time  # type: ignore[operator]
