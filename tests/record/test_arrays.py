"""numpy's arrays and scalars as attribute values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from crucible_trace_otel.record._values import clean
from crucible_trace_otel.semconv import attributes as attr

np = pytest.importorskip("numpy")

LETTERS = "?bBhHiIlLqQefdgFDGSUVOMm"


def cleaned(value: Any) -> tuple[Any, str | None]:
    result = clean({"key": value})
    return result["key"], (result.get(attr.CRUCIBLE_REPAIRED_REASONS) or (None,))[0]  # type: ignore[index,return-value]


@pytest.mark.parametrize("letter", "bBhHiIlLqQ")
def test_integers_stay_integers(letter: str) -> None:
    for value, kept in ((np.ones(2, letter), (1, 1)), (np.array(1, letter), 1), (np.ones(1, letter)[0], 1)):
        result, reason = cleaned(value)
        assert (result, reason) == (kept, None)
        assert type(result) in {int, tuple}


@pytest.mark.parametrize("letter", "efdg")
def test_floats_stay_floats(letter: str) -> None:
    for value, kept in (
        (np.full(2, 0.5, letter), (0.5, 0.5)),
        (np.array(0.5, letter), 0.5),
        (np.full(1, 0.5, letter)[0], 0.5),
        (np.full((2, 1), 0.5, letter), "[[0.5], [0.5]]"),
    ):
        result, reason = cleaned(value)
        assert (result, reason) == (kept, None)
        assert type(result) in {float, tuple, str}


@pytest.mark.parametrize("letter", LETTERS)
def test_every_dtype_is_kept_in_every_shape(letter: str) -> None:
    for shape in ((), (0,), (3,), (2, 2), (0, 3), (2000,)):
        value = np.zeros(shape, letter if letter not in "SUV" else f"{letter}3")
        result = clean({"before": 1, "key": value, "after": 2})
        assert {"before", "key", "after"} <= result.keys()
        if shape == ():
            assert "key" in clean({"key": value[()]})


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.bool_(True), True),
        (np.array([True, False]), (True, False)),
        (np.array(["a", "b"]), ("a", "b")),
        (np.str_("a"), "a"),
        (np.uint64(5), 5),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.array([1, None, "a"], dtype=object), '[1, null, "a"]'),
        (np.ma.array([1, 2], mask=[False, True]), "[1, null]"),
        (np.zeros(1, dtype=[("a", "i4"), ("b", "f8")]), "[[0, 0.0]]"),
        (np.zeros((2, 0)), "[[], []]"),
        (np.asfortranarray([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        (np.complex128(1 + 2j), "(1+2j)"),
        (np.clongdouble(1 + 2j), "(1+2j)"),
        (np.array([np.nan, 1.0])[1:], (1.0,)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_needs_no_repair(value: Any, kept: Any) -> None:
    result, reason = cleaned(value)
    assert (result, reason) == (kept, None)


def test_a_large_integer_of_numpy() -> None:
    assert cleaned(np.uint64(2**64 - 1)) == (str(2**64 - 1), "integer")


def test_a_large_array_is_described() -> None:
    assert cleaned(np.zeros((100, 100), "f4")) == ("ndarray of float32, shape (100, 100)", "summarised")
    text, reason = cleaned({"weights": np.zeros(5_000), "bias": np.zeros(2)})
    assert (json.loads(text), reason) == (
        {"weights": "ndarray of float64, shape (5000,)", "bias": [0.0, 0.0]},
        "summarised",
    )


def test_an_array_that_contains_itself() -> None:
    loop = np.array([None], dtype=object)
    loop[0] = loop
    box = np.array(None, dtype=object)
    box[()] = box
    for value in (loop, box):
        _, reason = cleaned(value)
        assert reason is not None
    loop[0] = box[()] = None
