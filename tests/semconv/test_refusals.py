"""Each rule on a small model of its own: one refusal, at the marked line, that says what and the way out."""

import pytest

from semconv.registry import load
from tests.semconv.broken_definitions import SHAPES, SIGNALS, TYPES
from tests.semconv.broken_names import NAMES, REFERENCES
from tests.semconv.models import (
    DEFINED,
    HERE,
    area,
    attribute,
    attributes,
    marked_lines,
    metric,
    refusals_of,
    write_model,
)

ALL = {**NAMES, **REFERENCES, **SIGNALS, **SHAPES, **TYPES}


@pytest.mark.parametrize("case", ALL)
def test_a_model_that_breaks_one_rule_is_refused_at_that_line(tmp_path, case):
    text, sentence = ALL[case]
    found = refusals_of(tmp_path, {"model/small.yaml": area(text)})
    (line,) = marked_lines(tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(f"{line}: ")
    assert sentence in found[0]


def test_every_refusal_names_the_way_out(tmp_path):
    for number, (text, _) in enumerate(ALL.values()):
        for refusal in refusals_of(tmp_path / str(number), {"model/small.yaml": area(text)}):
            problem, separator, way_out = refusal.partition("; ")
            assert problem
            assert separator, refusal
            assert way_out, refusal


def test_all_refusals_come_at_once_in_order_of_file_and_line(tmp_path):
    found = refusals_of(
        tmp_path,
        {
            "model/a.yaml": area(attributes(attribute("http.a", mark=HERE), attribute("http.b", mark=HERE))),
            "model/b.yaml": area("metrics:\n" + metric("http.c", mark=HERE)),
        },
    )
    assert [refusal.partition(": ")[0] for refusal in found] == marked_lines(tmp_path)


def test_a_duplicate_names_where_the_first_one_stands(tmp_path):
    (found,) = refusals_of(
        tmp_path,
        {"model/a.yaml": area(DEFINED), "model/b.yaml": area(attributes(attribute("crucible.run.id", mark=HERE)))},
    )
    assert f"{(tmp_path / 'model/a.yaml').as_posix()}:4" in found


def test_a_file_that_is_no_text_is_refused_and_not_raised(tmp_path):
    model = write_model(tmp_path, {})
    (model / "latin.yaml").write_bytes(b"brief: caf\xe9\n")
    (model / "nul.yaml").write_bytes(b"brief: \x00\n")
    _, refusals = load(model)
    assert [refusal.partition(": ")[0].rpartition("/")[2] for refusal in refusals] == ["latin.yaml:1", "nul.yaml:1"]


@pytest.mark.parametrize("text", ["", "a: [", "a: &x [*x]\n", "{a: 1", "\tx: 1\n", "- 1\n", "a: b: c\n"])
def test_what_is_no_usable_yaml_is_refused_and_not_raised(tmp_path, text):
    found = refusals_of(tmp_path, {"model/small.yaml": text})
    assert found
    assert all(refusal.startswith((tmp_path / "model/small.yaml").as_posix()) for refusal in found)


def test_an_unknown_file_format_is_refused(tmp_path):
    (found,) = refusals_of(tmp_path, {"model/small.yaml": "file_format: definition/3\n"})
    assert "small.yaml:1: " in found
    assert "use `definition/2`" in found
