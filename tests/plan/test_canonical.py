"""Canonical JSON, by the vectors of RFC 8785 and by another implementation."""

import json
import struct

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.plan.canonical import canonical_json, canonical_sha256

NUMBERS = """
    0000000000000000 0
    8000000000000000 0
    0000000000000001 5e-324
    8000000000000001 -5e-324
    7fefffffffffffff 1.7976931348623157e+308
    ffefffffffffffff -1.7976931348623157e+308
    4340000000000000 9007199254740992
    c340000000000000 -9007199254740992
    4430000000000000 295147905179352830000
    44b52d02c7e14af5 9.999999999999997e+22
    44b52d02c7e14af6 1e+23
    44b52d02c7e14af7 1.0000000000000001e+23
    444b1ae4d6e2ef4e 999999999999999700000
    444b1ae4d6e2ef4f 999999999999999900000
    444b1ae4d6e2ef50 1e+21
    3eb0c6f7a0b5ed8c 9.999999999999997e-7
    3eb0c6f7a0b5ed8d 0.000001
    41b3de4355555553 333333333.3333332
    41b3de4355555554 333333333.33333325
    41b3de4355555555 333333333.3333333
    41b3de4355555556 333333333.3333334
    41b3de4355555557 333333333.33333343
    becbf647612f3696 -0.0000033333333333333333
    43143ff3c1cb0959 1424953923781206.2
"""
"""Appendix B: a double as its bits, and what is written."""

within_doubles = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("line", NUMBERS.strip().splitlines(), ids=str.strip)
def test_a_number_is_written_as_ecmascript_writes_it(line):
    bits, text = line.split()
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value) == text.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(FormatError, match="is no JSON number"):
        canonical_json({"a": value})


def test_the_example_of_the_rfc():
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_json(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_names_are_sorted_by_their_utf16_units():
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = json.loads(canonical_json(dict.fromkeys(names, 0)))
    assert list(written) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@settings(max_examples=100, deadline=None)
@given(within_doubles)
def test_it_is_what_another_implementation_writes(value):
    assert canonical_json(value) == rfc8785.dumps(value)


@settings(max_examples=100, deadline=None)
@given(within_doubles)
def test_the_canonical_form_of_the_canonical_form_is_itself(value):
    written = canonical_json(value)
    assert canonical_json(json.loads(written)) == written


@pytest.mark.parametrize("value", [2**53 + 1, 2**64 - 1, -(10**400), 10**5000], ids=["53", "64", "400", "5000"])
def test_an_integer_that_no_double_holds_is_refused_rather_than_rounded(value):
    with pytest.raises(FormatError, match=r"seed: .* is no number that a double holds; write it as text to keep it."):
        canonical_json({"seed": value})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": {"b": [1, "\ud800"]}}, r"a.b\[1\]: .* holds half a character"),
        ({"\ud800": 1}, "holds half a character"),
        ({"a": {3: 1}}, "a: the name 3 is no text"),
        ({"a b": {1, 2}}, r"\['a b'\]: {1, 2} is no JSON value"),
    ],
)
def test_what_has_no_canonical_form_is_said_with_its_place(value, said):
    with pytest.raises(FormatError, match=said):
        canonical_json(value)


def test_what_is_nested_too_deeply_is_refused():
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(FormatError, match="nested too deeply"):
        canonical_json(value)


def test_the_hash_is_that_of_the_content_not_of_the_layout():
    one = json.loads('{"b": 1.0, "a": [1e2]}')
    other = json.loads('{\n "a":[100],\n "b":1}')
    assert canonical_sha256(one) == canonical_sha256(other)
    assert canonical_sha256({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
