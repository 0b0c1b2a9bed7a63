"""Whatever the name: the regex and the loader agree about it, and so do the constants and Python."""

import keyword
import re
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from semconv.rules import NAME, constant
from tests.semconv.models import area, attribute, refusals_of

# The rule as OpenTelemetry's own tooling states it.
RULE = re.compile(r"^[a-z][a-z0-9]*([._][a-z0-9]+)*$")

part = st.from_regex(r"[a-z0-9]+", fullmatch=True)
valid = st.lists(st.tuples(st.sampled_from("._"), part), max_size=4).map(
    lambda parts: "crucible.x" + "".join(separator + text for separator, text in parts)
)
anything = st.text("abzAZ019._- é", max_size=12).map(lambda text: f"crucible.{text}")


def refused(name: str) -> bool:
    quoted = "'" + name.replace("'", "''") + "'"
    with TemporaryDirectory() as folder:
        text = area("attributes:\n" + attribute(quoted))
        return any("is no attribute name" in line for line in refusals_of(Path(folder), {"model/small.yaml": text}))


@given(valid)
def test_a_valid_name_is_accepted(name):
    assert RULE.match(name)
    assert not refused(name)


@given(anything)
def test_the_loader_agrees_with_the_rule(name):
    # YAML strips blanks at the ends of what the reader takes as text.
    assert refused(name) == (RULE.match(name.strip()) is None)


@given(st.text(max_size=20))
def test_the_regex_takes_the_whole_name(text):
    assert bool(NAME.fullmatch(text)) == bool(RULE.match(text) and not text.endswith("\n"))


@given(valid, st.booleans())
def test_a_constant_is_an_identifier(name, template):
    made = constant(name, template=template)
    assert made.isidentifier()
    assert made.isupper()
    assert not keyword.iskeyword(made)


@given(valid, valid)
def test_constants_collide_only_where_dots_and_underscores_differ(one, other):
    assert (constant(one) == constant(other)) == (one.replace(".", "_") == other.replace(".", "_"))
