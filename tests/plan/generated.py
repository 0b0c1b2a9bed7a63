"""Any JSON that is a plan, and any plan, with unknown fields anywhere."""

import dataclasses
import inspect

from hypothesis import strategies as st

from crucible_trace_otel import plan
from crucible_trace_otel.plan import part as part_module
from crucible_trace_otel.plan.part import Part

ROOMS = (plan, plan.backend, plan.deployment, plan.feedback, plan.reliability, plan.training)
PARTS = sorted(
    {
        kind
        for room in ROOMS
        for kind in vars(room).values()
        if inspect.isclass(kind) and issubclass(kind, Part) and kind is not Part
    },
    key=lambda kind: (kind.__module__, kind.__name__),
)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
names = st.text(max_size=6) | st.sampled_from(["extra", "unknown_fields", "field_order", "x-owner", "self", "a.b"])


@st.composite
def objects(draw, kind, depth=3):
    """A JSON object that can be read as `kind`."""
    return draw(_fields(kind, depth, objects, lambda items: items))


@st.composite
def parts(draw, kind, depth=3):
    """A value of `kind`, as code would make it."""
    known = part_module._fields(kind)
    given = draw(_fields(kind, depth, parts, tuple))
    for name, one in known.items():
        if one.default is dataclasses.MISSING and name not in given:
            given[name] = draw(_value(one, 0, parts, tuple))
    unknown = {name: given.pop(name) for name in list(given) if name not in known}
    return kind(**given, unknown_fields=unknown)


@st.composite
def _fields(draw, kind, depth, inner, as_list):
    known = part_module._fields(kind)
    chosen = draw(st.lists(st.sampled_from(list(known)), unique=True, max_size=6))
    unknown = draw(st.lists(names.filter(lambda name: name not in known), unique=True, max_size=2))
    order = draw(st.permutations([*chosen, *unknown]))
    return {name: draw(_value(known[name], depth - 1, inner, as_list) if name in known else values) for name in order}


def _value(one, depth, inner, as_list):
    if one.part is None:
        return values
    if depth <= 0:
        return st.none() if not one.is_list else st.just(as_list([]))
    nested = st.deferred(lambda: inner(one.part, depth))
    if one.is_list:
        return st.none() | st.lists(nested, max_size=3).map(as_list)
    return nested | st.none() | (st.text(max_size=3) if one.may_be_text else st.none())
