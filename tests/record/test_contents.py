"""Digests and schemas of values: one for equal values, another for any other, and never an exception."""

from __future__ import annotations

import enum
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_trace_otel.record.stages import _contents, _tables
from crucible_trace_otel.record.stages._contents import contents_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=10,
)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: int
    y: Any = None


def digest(value: Any) -> str:
    found = contents_of(value, within=30)
    assert found.sha256 is not None, found.reason
    return found.sha256


def without_order(value: Any) -> Any:
    """The same value, its mappings in the other order."""
    if isinstance(value, dict):
        return {key: without_order(value[key]) for key in reversed(value)}
    return [without_order(item) for item in value] if isinstance(value, list) else value


def typed(value: Any) -> Any:
    """`value` so that only what is equal with its types compares as equal."""
    if isinstance(value, dict):
        return "dict", sorted((repr(typed(key)), repr(typed(item))) for key, item in value.items())
    return [typed(item) for item in value] if isinstance(value, list) else (type(value).__name__, repr(value))


@given(PLAIN, PLAIN)
@settings(max_examples=200, deadline=None)
def test_equal_values_and_only_those_have_one_digest(one: Any, other: Any) -> None:
    assert digest([one]) == digest([without_order(one)])
    assert (digest([one]) == digest([other])) == (repr(typed(one)) == repr(typed(other)))


def test_bytes_text_and_files_have_the_digest_other_tools_give(tmp_path: Path) -> None:
    content = "ä line\n".encode() * 300_000
    (tmp_path / "file").write_bytes(content)
    assert digest(content) == digest(bytearray(content)) == digest(memoryview(content)) == sha256(content).hexdigest()
    assert digest(content.decode()) == digest(tmp_path / "file") == sha256(content).hexdigest()


DIFFERENT: list[Any] = [
    *(
        None,
        True,
        1,
        1.0,
        "1",
        b"1",
        [1],
        (1,),
        {1},
        {1: 1},
        [[1]],
        [1, 1],
        Colour.RED,
        Colour.BLUE,
        Point(1),
        Point(2),
    ),
    *(
        date(2026, 1, 1),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(2026, 1, 1, tzinfo=timezone.utc),
        timedelta(1),
        Decimal("1.0"),
    ),
    *(Decimal("1.00"), uuid.UUID(int=1), complex(1), range(1), float("nan"), -0.0, "", [], {}, (), frozenset()),
    *(
        np.array([1, 2]),
        np.array([1, 2], "i4"),
        np.array([[1, 2]]),
        np.array([1, 2], ">i8"),
        np.float32(1),
        np.int64(1),
    ),
    *(np.array(["2026"], "M8[D]"), np.array([1, "a"], dtype=object), np.zeros((0, 3)), np.zeros((3, 0))),
    *(np.ma.array([1, 2], mask=[False, True]), np.ma.array([1, 2], mask=[True, False])),
    pd.Series([1, 2]),
    pd.Series([1, 2], index=[1, 2]),
    pd.Series([1, 2], name="a"),
    pd.DataFrame({"a": [1, 2]}),
    pd.DataFrame({"a": [1.0, 2.0]}),
    pd.DataFrame({"b": [1, 2]}),
    pd.DataFrame({"a": ["1", "2"]}, dtype=object),
    pd.DataFrame({"a": [1, "2"]}, dtype=object),
    pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}),
    pd.DataFrame({"a": pd.Categorical(["u", "v"])}),
    pd.to_datetime(["2026-01-01"]),
    pd.to_datetime(["2026-01-01"]).tz_localize("Europe/Berlin"),
    pa.table({"a": [1, 2]}),
    pa.table({"a": [1.0, 2.0]}),
    pa.table({"b": [1, 2]}),
    pa.table({"a": ["x", None]}),
    pa.table({"a": [[1], None]}),
    pa.table({"a": pa.array([], pa.int8())}),
    pa.table({"a": pa.array([], pa.int16())}),
]


def test_different_values_have_different_digests() -> None:
    assert len({digest([value]) for value in DIFFERENT}) == len(DIFFERENT)


def test_how_an_array_lies_in_memory_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (64, 1 << 20):
        monkeypatch.setattr(_contents, "_CHUNK", chunk)
        array = np.arange(600.0).reshape(3, 10, 20)
        assert digest(array) == digest(np.asfortranarray(array))
        assert digest(array[:, ::2, ::-1]) == digest(array[:, ::2, ::-1].copy())


def test_no_copy_is_made_of_an_array_that_lies_side_by_side() -> None:
    array = np.arange(1_000_000.0)
    (piece,) = _tables.pieces(array, 1 << 20)
    assert np.shares_memory(piece, array)
    assert all(len(piece) <= 1 << 20 for piece in _tables.pieces(array.reshape(1000, 1000)[:, ::2], 1 << 20))


def test_how_a_table_lies_in_memory_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tables, "_ROWS", 50)
    columns = {
        "number": [1, None, 3] * 60,
        "text": ["a", "bb", None] * 60,
        "flag": [True, None, False] * 60,
        "list": [[1], [], None] * 60,
    }
    table = pa.table(columns)
    parts = pa.concat_tables([table.slice(0, 7), table.slice(7, 100), table.slice(107)])
    assert digest(table) == digest(parts) == digest(table.to_batches()[0])
    assert digest(table) == digest(table.replace_schema_metadata({"made": "today"}))
    assert digest(table.slice(5, 90)) == digest(pa.table({name: part[5:95] for name, part in columns.items()}))
    assert digest(table) != digest(table.slice(1))


def test_a_frame_is_read_by_its_columns() -> None:
    frame = pd.DataFrame({"a": range(10_000), "b": [f"row {number}" for number in range(10_000)]})
    assert digest(frame) == digest(frame.copy())
    changed = frame.copy()
    changed.loc[9_999, "b"] = "another"
    assert digest(frame) != digest(changed)


class Tensor:
    """What torch's looks like."""

    shape = (2,)
    dtype = "torch.float32"

    def __init__(self, device: str) -> None:
        self.device = device

    def detach(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        assert self.device == "cpu", "the device is waited for"
        return np.array([1, 2], "f4")


class Broken(dict):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise RuntimeError("no keys")


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def holding_itself() -> list[Any]:
    found: list[Any] = []
    found += [found, found]
    return found


def test_a_tensor_on_the_host_is_read_and_one_on_a_device_is_not() -> None:
    assert digest(Tensor("cpu")) == digest(np.array([1, 2], "f4"))
    assert contents_of(Tensor("cuda:0")).reason == "it lies on an accelerator"


class Endless(dict[int, int]):
    """A mapping whose keys have no end."""

    def __iter__(self) -> Iterator[int]:
        return count()

    def __getitem__(self, key: int) -> int:
        return key


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


def test_several_flags_at_once_are_told_apart_where_they_have_no_name() -> None:
    both, other = Access.READ | Access.WRITE, Access.READ | Access.RUN
    for flags in (both, other):
        flags._name_ = None  # as in Python 3.10
    assert contents_of(both).sha256 != contents_of(other).sha256


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "nothing is known of what a object holds"),
        ([1, object()], "nothing is known of what a object holds"),
        (iter([1]), "nothing is known of what a list_iterator holds"),
        (holding_itself(), "it holds itself, or is nested too deeply"),
        (nested(5_000), "it holds itself, or is nested too deeply"),
        (Broken(), "reading it raised RuntimeError: no keys"),
        ([Path("nothing there")], "nothing there cannot be read"),
        ([Path("/dev/null")], "/dev/null is no regular file"),
        (np.array([(1, "a")], dtype=[("n", "i4"), ("o", "O")]), "it holds Python objects"),
        (memoryview(b"abcdef")[::2], "its bytes do not lie side by side"),
        (list(range(1_000)), "to digest it takes longer than 0 s"),
        (dict.fromkeys(range(1_000)), "to digest it takes longer than 0 s"),
        ({str(number) for number in range(1_000)}, "to digest it takes longer than 0 s"),
        (Endless(), "to digest it takes longer than 0 s"),
    ],
)
def test_without_a_digest_it_says_why(value: Any, reason: str) -> None:
    found = contents_of(value, within=0 if "longer" in reason else 30)
    assert found.sha256 is None
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (b"", {"type": "bytes"}),
        (np.zeros((2, 3), "f4"), {"type": "ndarray", "dtype": "float32", "shape": [2, 3]}),
        (pa.table({"a": [1]}), {"type": "Table", "rows": 1, "columns": {"a": "int64"}}),
        (
            pd.DataFrame([[1, 2.0]], columns=["a", "a"]),
            {"type": "DataFrame", "rows": 1, "columns": {"a": "int64", "a_": "float64"}},
        ),
        (pd.Series([1]), {"type": "Series", "rows": 1, "dtype": "int64"}),
        ({"x": [1, 2]}, {"type": "dict", "keys": {"x": {"type": "list", "length": 2}}}),
        (
            {"a": {"b": {"c": 1}}},
            {"type": "dict", "keys": {"a": {"type": "dict", "keys": {"b": {"type": "dict", "length": 1}}}}},
        ),
    ],
)
def test_the_schema_says_what_it_is_made_of(value: Any, schema: dict[str, Any]) -> None:
    assert contents_of(value).schema == schema


def test_a_schema_is_bounded() -> None:
    keys = contents_of({f"{'k' * 300}{number}": number for number in range(500)}).schema["keys"]
    assert len(keys) == 101
    assert keys["…"] == "400 more"
    assert max(map(len, keys)) < 300
