"""Plans are read and written without loss."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.errors import ConfigurationError, FormatError
from crucible_trace_otel.plan import BackendRef, DatasetRef, Experiment, StageDef, reliability, training
from tests.plan.generated import PARTS, objects, parts

SMALL = {"id": "e", "backend": {"id": "b"}, "pipeline": [{"name": "load"}]}


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_was_read_is_written_back_in_place(data):
    kind = data.draw(st.sampled_from(PARTS))
    value = data.draw(objects(kind))
    text = json.dumps(value)
    assert kind.from_json(text).to_json(indent=None) == json.dumps(value, ensure_ascii=False)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_what_was_written_is_read_as_the_same_value(data):
    kind = data.draw(st.sampled_from(PARTS))
    value = data.draw(parts(kind))
    assert kind.from_json(value.to_json()) == value
    assert isinstance(value.problems(), tuple)


@settings(max_examples=60, deadline=None)
@given(objects(Experiment))
def test_a_plan_and_its_written_form_have_one_hash(value):
    plan = crucible.read_plan(value)
    again = crucible.read_plan(plan.to_json())
    assert again == plan
    try:
        digest = plan.sha256
    except FormatError:  # an integer that no double holds
        return
    assert again.sha256 == digest


def test_unknown_fields_are_kept_at_every_level():
    value = {**SMALL, "x": 1, "backend": {"y": [1.50], "id": "b", "fallback": {"id": "c", "z": None}}}
    value["pipeline"] = [{"w": {"v": True}, "name": "load"}]
    value["reliability"] = {"stats": {"u": "t"}, "monitoring": {"any": "thing"}}
    plan = crucible.read_plan(value)
    assert json.dumps(plan.to_object()) == json.dumps(value)
    assert plan.unknown_fields == {"x": 1}
    assert plan.backend.fallback.unknown_fields == {"z": None}


def test_defaults_hold_and_are_not_written():
    plan = crucible.read_plan(SMALL)
    (stage,) = plan.pipeline
    assert stage.is_enabled
    assert (stage.enabled, stage.retries, stage.after) == (True, 0, ())
    assert (plan.backend.profile, DatasetRef(name="d").split, reliability.Stats().alpha) == ("default", "train", 0.05)
    assert plan.to_object() == SMALL


def test_what_is_written_out_stays_written_out():
    value = {"name": "load", "enabled": True, "module": None, "after": [], "options": {}}
    stage = StageDef.from_json(value)
    assert stage == StageDef(name="load", options={})
    assert stage.to_object() == value
    assert replace(stage, enabled=False).to_object() == {**value, "enabled": False}
    assert StageDef(name="load", enabled=None).to_object() == {"name": "load", "enabled": None}


def test_numbers_and_times_keep_their_spelling():
    text = (
        '{"id": "r", "config": null, "started_at": "2026-01-01T00:00:00.000+0100", "best_metrics": {"a": 1, "b": 1.0}}'
    )
    assert training.Run.from_json(text).to_json(indent=None) == text


def test_a_name_may_stand_for_a_model_or_a_configuration():
    value = {**SMALL, "model_version": "v1", "baseline": "old", "training_config": {"id": "t", "epochs": 3}}
    plan = crucible.read_plan(value)
    assert (plan.model_version, plan.training_config.epochs) == ("v1", 3)
    assert plan.to_object() == value


def test_half_a_character_is_written_as_it_was_read():
    text = '{"name": "\\ud800"}'
    assert StageDef.from_json(text).to_json(indent=None) == text


def test_a_file_is_read_by_its_path(tmp_path):
    path = tmp_path / "plan.json"
    path.write_bytes("\ufeff".encode() + json.dumps({**SMALL, "owner": "Ärzte"}).encode())
    assert crucible.read_plan(path) == crucible.read_plan(str(path)) == crucible.read_plan(path.read_bytes())
    assert crucible.read_plan(path).owner == "Ärzte"


def test_a_part_by_hand_is_what_its_json_is():
    plan = Experiment(id="e", backend=BackendRef(id="b"), pipeline=[StageDef(name="load", after=["x"])])
    assert crucible.read_plan(plan.to_json()) == plan
    assert plan.pipeline[0].after == ("x",)
    with pytest.raises(TypeError, match="pipeline"):
        Experiment(id="e", backend=BackendRef(id="b"))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('{"pipeline": 3}', "pipeline: 3 is no list; write a list of objects there, such as []."),
        ('{"pipeline": ["load"]}', "pipeline[0]: 'load' is no object; write an object there, with the fields name."),
        ('{"backend": "gpt"}', "backend: 'gpt' is no object; write an object there, with the fields id."),
        ('{"backend": {"fallback": [1]}}', "backend.fallback: [1] is no object"),
        ('{"reliability": {"stats": 0}}', "reliability.stats: 0 is no object; write an object there"),
        ('{"id": "a", "id": "b"}', "the field 'id' stands twice in one object"),
        ('{"a": NaN}', "NaN is no JSON number; leave it out, or write it as text."),
        ('{"a": -Infinity}', "-Infinity is no JSON number"),
        ('{"a": 1e999}', "the number '1e999' is larger than any double; write it as text."),
        ('{"a": ' + "9" * 5000 + "}", "has too many digits; write it as text."),
        ('{"a": 1', "The text is no JSON: "),
        (b"[]", "is a JSON value but no object, []"),
        (b"\xff{}", "The text is no UTF-8: invalid start byte at byte 0."),
        ('{"a": ' + "[" * 100_000, "The text is nested too deeply to be read."),
    ],
)
def test_what_is_no_plan_is_said_in_a_sentence(source, said):
    with pytest.raises(FormatError) as refused:
        crucible.read_plan(source)
    assert said in str(refused.value)


def test_what_is_nested_without_an_end_is_refused_not_a_crash():
    deep = {"id": "b"}
    for _ in range(5_000):
        deep = {"id": "b", "fallback": deep}
    with pytest.raises(FormatError, match="nested too deeply"):
        crucible.read_plan({"backend": deep})


@pytest.mark.parametrize("path", ["no/such/file.json", "nul\0byte", "/", 3, None])
def test_a_file_that_cannot_be_read_is_said(path):
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*give the path of a plan, or JSON text"):
        crucible.read_plan(path)


def test_what_json_cannot_write_is_said_with_its_place():
    plan = Experiment(id="e", backend=BackendRef(id="b"), pipeline=[StageDef(name="s", options={"f": [1, print]})])
    with pytest.raises(FormatError, match=r"pipeline\[0\].options.f\[1\]: <built-in function print> is no JSON value"):
        plan.to_json()
    with pytest.raises(FormatError, match=r"pipeline\[0\].options.f\[1\]: <built-in function print> is no JSON value"):
        plan.sha256  # noqa: B018
    around: dict = {}
    around["self"] = around
    with pytest.raises(FormatError, match=r"options\.self"):
        StageDef(name="s", options=around).to_json()


def test_a_file_without_an_end_is_refused(tmp_path):
    with pytest.raises(FormatError, match="has more than 64 MiB, which no plan has"):
        crucible.read_plan("/dev/zero")


def test_of_many_fields_the_one_that_stands_twice_is_named():
    text = ",".join(f'"f{at}": 1' for at in range(1_000))
    with pytest.raises(FormatError, match="the field 'f999' stands twice"):
        crucible.read_plan(f'{{{text}, "f999": 2}}')


@pytest.mark.parametrize("field", ["id", "experiment_type", "metadata", "tags", "owner", "created_at"])
def test_an_array_in_a_plan_by_hand_is_a_problem_not_a_crash(field):
    array = pytest.importorskip("numpy").array([1, 2])
    plan = crucible.read_plan({"id": "e", "backend": {"id": "b"}, "pipeline": [{"name": "a"}], field: array})
    assert [problem.path for problem in plan.problems()] == [field]
    with pytest.raises(FormatError, match=rf"{field}: array\(\[1, 2\]\) is no JSON value"):
        plan.to_json()
