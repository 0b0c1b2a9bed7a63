"""The shipped convention: it is whole, and it agrees with itself."""

import importlib
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from crucible_trace_otel import semconv
from crucible_trace_otel.semconv import attributes, catalogue, enums, events, metrics, spans
from semconv.generate import ROOT
from semconv.registry import load
from semconv.rules import constant
from tests.semconv import vocabulary


@pytest.fixture(scope="module")
def registry():
    loaded, refusals = load(ROOT / "semconv/model")
    assert list(refusals) == []
    return loaded


def constants_of(module):
    return {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}


def test_every_attribute_of_the_vocabulary_is_there_and_no_other():
    own = {key for key, definition in catalogue.ATTRIBUTES.items() if not definition.upstream}
    assert own == vocabulary.ATTRIBUTES
    assert {key for key in own if catalogue.ATTRIBUTES[key].template} == vocabulary.TEMPLATES


def test_every_operation_and_marker_is_there_and_no_other():
    assert set(catalogue.SPANS) == vocabulary.OPERATIONS | vocabulary.MARKERS


def test_every_event_is_there_and_no_other():
    assert set(catalogue.EVENTS) == vocabulary.EVENTS


def test_every_metric_is_there_and_no_other():
    assert set(catalogue.METRICS) == vocabulary.METRICS


def test_what_is_reused_is_there():
    assert {key for key, definition in catalogue.ATTRIBUTES.items() if definition.upstream} >= vocabulary.UPSTREAM


@pytest.mark.parametrize("name", vocabulary.VALUE_SETS)
def test_every_value_set_has_its_values_in_order(name):
    members = {key: value for key, value in vars(getattr(enums, name)).items() if key.isupper()}
    assert members == {value.upper(): value for value in vocabulary.VALUE_SETS[name].split()}


def test_there_is_no_other_value_set():
    classes = {name for name, value in vars(enums).items() if isinstance(value, type)}
    assert classes == set(vocabulary.VALUE_SETS)


def test_free_text_is_marked_as_content():
    assert {key for key in vocabulary.CONTENT if not catalogue.ATTRIBUTES[key].content} == set()


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (spans, catalogue.SPANS),
        (events, catalogue.EVENTS),
        (metrics, catalogue.METRICS),
        (attributes, catalogue.ATTRIBUTES),
    ],
)
def test_each_name_has_one_constant(module, names):
    definitions = {constant(key, template=getattr(value, "template", False)): key for key, value in names.items()}
    assert constants_of(module) == definitions


def test_each_definition_is_listed_under_its_own_name():
    for named in (catalogue.SPANS, catalogue.EVENTS, catalogue.METRICS):
        assert all(definition.name == name for name, definition in named.items())
    assert all(definition.key == key for key, definition in catalogue.ATTRIBUTES.items())
    assert all(definition.type == f"crucible.internal.{name}" for name, definition in catalogue.SPANS.items())


def test_every_attribute_a_signal_names_is_defined():
    signals = (*catalogue.SPANS.values(), *catalogue.EVENTS.values(), *catalogue.METRICS.values())
    used = {key for signal in signals for key in signal.attributes}
    used |= {key for group in catalogue.ATTRIBUTE_GROUPS.values() for key in group}
    assert used == set(catalogue.ATTRIBUTES)


def test_every_operation_an_event_names_exists_and_every_boundary_too():
    for event in catalogue.EVENTS.values():
        assert event.operations or "." in event.name, event.name
        assert set(event.operations) <= set(catalogue.SPANS)
    for signal in (*catalogue.EVENTS.values(), *catalogue.SPANS.values()):
        if signal.boundary is not None:
            assert signal.boundary.span in catalogue.SPANS


def test_every_span_of_ours_says_which_operation_it_is_before_a_sampler_decides():
    for span in catalogue.SPANS.values():
        assert span.attributes[attributes.CRUCIBLE_OPERATION_NAME] == "required"
        assert span.attributes[attributes.CRUCIBLE_EVENT_ID] == "required"
        assert attributes.CRUCIBLE_ABOUT in span.attributes
        assert attributes.CRUCIBLE_RUN_ID in span.attributes
        assert attributes.CRUCIBLE_OPERATION_NAME in span.sampling_relevant


def test_every_operation_that_ends_has_a_result():
    for span in catalogue.SPANS.values():
        zero_length = span.boundary is not None or span.name == spans.PROGRESS
        assert (attributes.CRUCIBLE_OPERATION_RESULT in span.attributes) == (not zero_length)


def test_decisions_are_spans_and_events_inside_a_chain():
    for name in vocabulary.DECISIONS:
        assert catalogue.SPANS[name].signal == catalogue.EVENTS[name].signal == "both"
        assert catalogue.SPANS[name].operations == (spans.REASONING_CHAIN,)


def test_long_operations_have_both_markers():
    assert {name for name, span in catalogue.SPANS.items() if span.long} == vocabulary.LONG
    for name in vocabulary.LONG:
        assert catalogue.SPANS[f"{name}_started"].boundary == catalogue.Boundary(span=name, at="start")
        assert catalogue.SPANS[f"{name}_interrupted"].boundary == catalogue.Boundary(span=name, at="interruption")


@pytest.mark.parametrize(
    ("old", "operation"),
    [
        ("training_started", "training_run"),
        ("training_completed", "training_run"),
        ("epoch_completed", "epoch"),
        ("checkpoint_saved", "checkpoint_save"),
        ("stage_start", "stage"),
        ("deployment_started", "deployment"),
        ("deployment_initiated", "deployment"),
        ("policy_updated", "policy_update"),
    ],
)
def test_an_old_name_finds_the_operation_it_is_the_start_or_end_of(old, operation):
    assert catalogue.ALIASES[old] == operation
    assert old in catalogue.SPANS[operation].aliases


def test_aliases_are_the_same_seen_from_both_sides():
    assert {alias: name for name, span in catalogue.SPANS.items() for alias in span.aliases} == catalogue.ALIASES


def test_every_event_type_of_the_old_library_is_known():
    assert set(catalogue.EVENTS) >= vocabulary.OLD_EVENT_TYPES
    assert len(vocabulary.OLD_EVENT_TYPES) == 26


def test_a_renamed_event_names_one_that_is_not_renamed():
    renamed = {name: event.renamed_to for name, event in catalogue.EVENTS.items() if event.renamed_to is not None}
    assert renamed == {"deployment_started": "deployment_initiated"}
    assert all(catalogue.EVENTS[name].renamed_to is None for name in renamed.values())


@pytest.mark.parametrize(
    ("key", "definition"),
    [
        ("crucible.run.id", "crucible.run.id"),
        ("crucible.training.metric.accuracy", "crucible.training.metric"),
        ("crucible.training.metric.top.5", "crucible.training.metric"),
        ("crucible.training.metric", None),
        ("crucible.training.metric.", None),
        ("crucible.run.id.more", None),
        ("thread.id", None),
        ("", None),
    ],
)
def test_a_recorded_key_is_found_with_its_template(key, definition):
    found = catalogue.find_attribute(key)
    assert (found and found.key) == definition


def test_numbers_keep_their_type():
    for key in ("loss.value", "metric", "learning_rate", "gradient.norm"):
        assert catalogue.ATTRIBUTES[f"crucible.training.{key}"].type == "double"
    for key in ("first", "last", "min", "max", "mean"):
        assert catalogue.ATTRIBUTES[f"crucible.window.{key}"].type == "double"
    assert catalogue.ATTRIBUTES[attributes.CRUCIBLE_DECISION_CONFIDENCE].type == "double"
    assert catalogue.ATTRIBUTES[attributes.CRUCIBLE_TRAINING_STEP_INDEX].type == "int"
    assert catalogue.ATTRIBUTES[attributes.CRUCIBLE_WINDOW_SERIES_VALUES].type == "bytes"
    assert "any" not in {definition.type for definition in catalogue.ATTRIBUTES.values()}


def test_every_metric_is_measured_in_a_unit_and_no_metric_carries_an_id():
    for metric in catalogue.METRICS.values():
        assert metric.unit
        assert not [key for key in metric.attributes if key.endswith((".id", "_id", ".index"))], metric.name


def test_definitions_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        catalogue.SPANS[spans.EPOCH].name = "lap"


def test_the_schema_url_ends_in_its_version_and_leads_nowhere(registry):
    host, *_, version = registry.schema_url.removeprefix("https://").split("/")
    assert host.endswith(".example")
    assert version == "0.1.0"
    assert registry.schema_url == semconv.SCHEMA_URL


def test_every_span_has_a_page_that_names_it(registry):
    for name, signal in {**registry.spans, **registry.events, **registry.metrics}.items():
        if signal.area not in registry.areas:  # an event of OpenTelemetry's
            assert f"| `{name}` |" in (ROOT / "docs/convention.md").read_text(encoding="utf-8")
            continue
        page = (ROOT / f"docs/convention/{signal.area}.md").read_text(encoding="utf-8")
        assert f" `{name}`\n" in page


def test_every_link_between_the_pages_leads_to_a_heading():
    for page in (ROOT / "docs/convention.md", *(ROOT / "docs/convention").glob("*.md")):
        for target in page.read_text(encoding="utf-8").split("](")[1:]:
            path, _, anchor = target.partition(")")[0].partition("#")
            linked = (page.parent / path) if path else page
            assert linked.is_file(), f"{page.name}: {path}"
            assert not anchor or anchor in anchors_of(linked), f"{page.name}: {path}#{anchor}"


def anchors_of(page: Path) -> set[str]:
    """What a Markdown viewer makes of the headings: lower case, punctuation gone, blanks as hyphens."""
    headings = (line.lstrip("#").strip() for line in page.read_text(encoding="utf-8").splitlines() if line[:1] == "#")
    return {
        "".join(letter for letter in heading.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
        for heading in headings
    }


def test_the_constants_load_nothing_else():
    for module in (semconv, attributes, spans, events, metrics, enums, catalogue):
        lines = Path(importlib.import_module(module.__name__).__file__ or "").read_text(encoding="utf-8").splitlines()
        imports = (line.split()[1] for line in lines if line.startswith(("from ", "import ")))
        imported = {name.partition(".")[0] for name in imports}
        assert imported <= {"typing", "collections", "dataclasses", "crucible_trace_otel"}
