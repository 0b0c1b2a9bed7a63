"""Values: whatever is handed over becomes an attribute, nothing raises, and what was changed is marked."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, UserDict, deque
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from crucible_trace_otel.record._values import clean, one_line, printable, with_template
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, said

KEYS, REASONS = attr.CRUCIBLE_REPAIRED_KEYS, attr.CRUCIBLE_REPAIRED_REASONS


class Colour(Enum):
    RED = "red"
    NESTED = (1, 2)


class Level(IntEnum):
    LOW = 1


class Whole(int):
    pass


class Text(str):
    __slots__ = ()


@dataclass
class Point:
    x: int
    y: int


def cleaned(value: Any) -> tuple[Any, str | None]:
    """What becomes of one value, and the reason of its repair."""
    result = clean({"key": value})
    reasons = result.pop(REASONS, (None,))
    assert result.pop(KEYS, ("key",)) == ("key",)
    return result.pop("key"), reasons[0]  # type: ignore[index,return-value]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (True, True),
        (-(2**63), -(2**63)),
        (2**63 - 1, 2**63 - 1),
        (0.1, 0.1),
        ("text", "text"),
        ("größe\0\u2028", "größe\0\u2028"),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"abcd")[::2], b"ac"),
        ([1, 2], (1, 2)),
        ((True, False), (True, False)),
        ([1, 2.5], (1.0, 2.5)),
        ([], ()),
        ({3, 1, 2}, (1, 2, 3)),
        (frozenset("ba"), ("a", "b")),
        (deque([1, 2]), (1, 2)),
        ({"a": 1}.values(), (1,)),
        ({"a": 1}.keys(), ("a",)),
        (range(10**12), f"range(0, {10**12})"),
        ([1, "a", None], '[1, "a", null]'),
        ([2**60, 0.5], f"[{2**60}, 0.5]"),
        ([True, 1], "[true, 1]"),
        ({"a": {"b": [1, None]}}, '{"a": {"b": [1, null]}}'),
        (OrderedDict(a=1), '{"a": 1}'),
        (UserDict(a=1), '{"a": 1}'),
        ({1: "a", None: "b"}, '{"1": "a", "None": "b"}'),
        (Colour.RED, "red"),
        (Colour.NESTED, (1, 2)),
        (Level.LOW, 1),
        (Whole(3), 3),
        ([Whole(3)], (3,)),
        (Text("t"), "t"),
        (Decimal("0.10"), "0.10"),
        (Fraction(1, 3), "1/3"),
        (1 + 2j, "(1+2j)"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone.utc), "2026-01-02T03:00:00+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (timedelta(seconds=1), "0:00:01"),
        (PurePosixPath("a/b"), "a/b"),
        (UUID(int=1), str(UUID(int=1))),
        (Point(1, 2), "Point(x=1, y=2)"),
        (int, "<class 'int'>"),
    ],
    ids=lambda value: ascii(printable(value)[:30]),
)
def test_what_needs_no_repair(given: Any, kept: Any) -> None:
    value, reason = cleaned(given)
    assert (value, type(value), reason) == (kept, type(kept), None)
    if isinstance(value, tuple):
        assert [type(item) for item in value] == [type(item) for item in kept]


@pytest.mark.parametrize(
    ("given", "kept", "reason"),
    [
        (2**63, str(2**63), "integer"),
        (Whole(-(2**63) - 1), str(-(2**63) - 1), "integer"),
        (10**5000, hex(10**5000), "integer"),
        ([2**63, 1], f'["{2**63}", 1]', "integer"),
        ("a\ud800b", "a\ufffdb", "surrogate"),
        ("\ud83d\ude00", "😀", "surrogate"),
        (["\udfff"], ("\ufffd",), "surrogate"),
        (b"x" * 1_000_000, f"1000000 bytes, sha256 {sha256(b'x' * 1_000_000).hexdigest()}", "summarised"),
        ([b"\xff", 1], '["/w==", 1]', "bytes"),
    ],
    ids=lambda value: ascii(printable(value)[:30]),
)
def test_what_is_repaired_says_why(given: Any, kept: Any, reason: str) -> None:
    assert cleaned(given) == (kept, reason)


def test_none_is_left_out() -> None:
    assert clean({"a": None, "b": 1}) == {"b": 1}


def test_long_and_deep_values_are_cut() -> None:
    text, reason = cleaned(list(range(5_000)))
    assert (json.loads(text)[-2:], reason) == ([999, "… 4000 more"], "summarised")
    text, reason = cleaned({str(i): i for i in range(5_000)})
    assert (json.loads(text)["…"], reason) == ("4000 more", "summarised")
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    text, reason = cleaned(deep)
    assert (text, reason) == ("[" * 32 + '"<too deep>"' + "]" * 32, "depth")
    while deep:
        deep = deep[0]


def test_what_contains_itself_is_cut() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert cleaned(loop) == ('[1, "<cycle>"]', "cycle")
    tree: dict[str, Any] = {}
    tree["self"] = [tree]
    assert cleaned(tree) == ('{"self": ["<cycle>"]}', "cycle")
    shared = [1]
    assert cleaned([shared, shared]) == ("[[1], [1]]", None)


def test_what_doubles_at_every_level_is_cut() -> None:
    grown: list[Any] = []
    for _ in range(30):
        grown = [grown, grown]
    text, reason = cleaned(grown)
    assert reason == "summarised"
    assert len(text) < 1_000_000


class Lazy:
    """Its attributes and methods raise, those named excepted."""

    def __init__(self, *calm: str, error: type[BaseException] = RuntimeError) -> None:
        object.__setattr__(self, "calm", (*calm, "__class__", "calm", "error"))
        object.__setattr__(self, "error", error)

    def __getattribute__(self, name: str) -> Any:
        if name in object.__getattribute__(self, "calm"):
            return object.__getattribute__(self, name)
        raise object.__getattribute__(self, "error")(name)

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __len__ = __iter__ = __hash__ = __bool__ = __eq__ = __int__ = __float__ = __fspath__ = __str__  # type: ignore[assignment]


def raising(base: type, *names: str) -> Any:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    return type(f"Broken{base.__name__}", (base,), dict.fromkeys(names, broken))


class Array:
    shape: Any = (2,)
    dtype = "float32"
    device: Any = "cpu"

    def tolist(self) -> Any:
        return [1.0, 2.0]


def array(**overrides: Any) -> Any:
    return type("Array", (Array,), overrides)()


def raise_(*_: Any) -> Any:
    raise RuntimeError("broken")


HOSTILE = [
    Lazy(),
    Lazy(error=AttributeError),
    raising(str, "__str__", "encode", "isascii")("text"),
    raising(int, "__int__", "__eq__", "__str__")(3),
    raising(float, "__float__", "__str__", "__repr__")(0.5),
    raising(dict, "items", "__iter__", "__len__", "__repr__")(a=1),
    raising(list, "__iter__", "__len__", "__getitem__", "__repr__")([1]),
    raising(tuple, "__iter__", "__repr__")((1,)),
    raising(set, "__iter__", "__repr__")({1}),
    raising(bytes, "__bytes__", "__len__", "__str__")(b"x"),
    raising(datetime, "isoformat")(2026, 1, 1),
    raising(PurePosixPath, "__fspath__")("a"),
    array(tolist=raise_),
    array(shape=property(raise_)),
    array(device=property(raise_)),
    array(device=Lazy()),
    array(shape=None),
    array(shape=(2, "x")),
    array(tolist=lambda self: self),
    array(tolist=lambda _: Lazy()),
    array(tolist=lambda _: None),
]


@pytest.mark.parametrize(
    "value", HOSTILE, ids=[f"{index} {type(value).__name__}" for index, value in enumerate(HOSTILE)]
)
def test_hostile_objects_are_kept_as_something(value: Any) -> None:
    for around in (value, [value], {"inside": value}):
        result = clean({"before": 1, "key": around, "after": 2})
        assert (result["before"], result["after"]) == (1, 2)
        assert "key" in result
    assert isinstance(printable(value), str)
    assert len(one_line(value)) <= 120


def test_an_array_on_a_device_is_described() -> None:
    assert cleaned(array(device="cuda:0", tolist=raise_)) == ("Array of float32, shape (2,)", "on_device")
    assert cleaned(array(device="cpu:0")) == ((1.0, 2.0), None)
    assert cleaned([array(device="mps", tolist=raise_), 1]) == ('["Array of float32, shape (2,)", 1]', "on_device")


def test_names_of_the_user_never_meet() -> None:
    names: dict[Any, int] = {1: 1, "1": 2, "\ud800": 3, "": 5, "_": 6, **{i: i for i in range(2, 60)}}
    names |= {"59": 59_000, "\udfff": 4}
    result = with_template("p", names)
    rest = result.pop(attr.CRUCIBLE_OVERFLOW)
    assert sorted([*result.values(), *rest.values()]) == sorted(names.values())
    assert with_template("p", None) == {}


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70).map(Whole),
    st.floats(),
    st.text(st.characters()),
    st.text(st.characters(categories=["Cs", "Lu"])),
    st.binary(max_size=100),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.datetimes(),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([*Colour, Level.LOW, Point(1, 2), object, PurePosixPath("a")]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.lists(inner, max_size=5).map(deque),
        st.dictionaries(st.one_of(st.text(st.characters()), st.integers(), st.none()), inner, max_size=5),
        st.sets(st.one_of(st.integers(), st.text(st.characters())), max_size=5),
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: "repaired" not in key), VALUES, max_size=6))
def test_every_value_survives_the_official_encoder(values: dict[str, Any]) -> None:
    result = clean(values)
    assert result.keys() - {KEYS, REASONS} == {key for key, value in values.items() if value is not None}
    recording = Recording()
    recording.foreign.start_span("s", attributes=result).end()
    (span,) = recording.spans
    assert len(said(span)) == len(result)
    message = encode_spans([span])
    assert message.FromString(message.SerializeToString()) == message
    encoded = message.resource_spans[0].scope_spans[0].spans[0].attributes
    assert {item.key for item in encoded} == result.keys()


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.text()))
def test_plain_values_are_exact(value: Any) -> None:
    (kept, reason) = cleaned(value)
    assert reason is None
    assert type(kept) is type(value)
    assert kept == value or (math.isnan(kept) and math.isnan(value))


@given(st.one_of(st.integers(min_value=2**63), st.integers(max_value=-(2**63) - 1)))
def test_large_integers_can_be_read_back(number: int) -> None:
    text, reason = cleaned(number)
    assert (int(text), reason) == (number, "integer")
