"""The manifest, and the registries that a model refers to."""

from semconv.registry import load
from tests.semconv.models import area, attribute, event, marked_lines, refusals_of, span, write_model

UPSTREAM_MANIFEST = "schema_url: https://up.test/schemas/2.0.0\ndescription: Theirs.\n"
MANIFEST = """
schema_url: https://example.test/schemas/1.0.0
description: Ours.
dependencies:
  - schema_url: https://up.test/schemas/2.0.0
    registry_path: ./upstream/up
"""
USING = area("spans:\n" + span("work", more="    attributes: [{ref: error.type}]\n"))


def files(**changes):
    return {
        "model/manifest.yaml": MANIFEST,
        "model/small.yaml": USING,
        "upstream/up/manifest.yaml": UPSTREAM_MANIFEST,
        "upstream/up/attributes.yaml": area("attributes:\n" + attribute("error.type")),
        **changes,
    }


def test_an_upstream_attribute_may_be_referred_to(tmp_path):
    registry, refusals = load(write_model(tmp_path, files()))
    assert list(refusals) == []
    assert registry.attributes["error.type"].upstream
    assert registry.schema_url == "https://example.test/schemas/1.0.0"


def test_an_upstream_attribute_that_nothing_uses_is_refused(tmp_path):
    more = area("attributes:\n" + attribute("error.type") + attribute("host.name", mark="# <--"))
    (found,) = refusals_of(tmp_path, files(**{"upstream/up/attributes.yaml": more}))
    assert found.startswith(f"{marked_lines(tmp_path)[0]}: nothing refers to the upstream attribute `host.name`")


def test_ours_may_not_stand_in_upstream(tmp_path):
    theirs = area("attributes:\n" + attribute("error.type") + attribute("crucible.run.id", mark="# <--"))
    used = USING.replace("{ref: error.type}", "{ref: error.type}, {ref: crucible.run.id}")
    (found,) = refusals_of(tmp_path, files(**{"upstream/up/attributes.yaml": theirs, "model/small.yaml": used}))
    assert found.startswith(marked_lines(tmp_path)[0])
    assert "is ours" in found


def their_event(name: str, mark: str = "") -> str:
    use = "    attributes: [{ref: error.type}]\n"
    return area(
        "events:\n"
        + event(name, mark=mark, more=use).replace(
            "    annotations: {crucible: {signal: event, operation: [work]}}\n", ""
        )
    )


def test_an_upstream_event_is_any_operation_s(tmp_path):
    registry, refusals = load(write_model(tmp_path, files(**{"upstream/up/events.yaml": their_event("their.result")})))
    assert list(refusals) == []
    found = registry.events["their.result"]
    assert (found.upstream, found.operations, found.area in registry.areas) == (True, (), False)


def test_an_event_of_ours_may_not_stand_in_upstream(tmp_path):
    (found,) = refusals_of(tmp_path, files(**{"upstream/up/events.yaml": their_event("done", "# <--")}))
    assert found.startswith(marked_lines(tmp_path)[0])
    assert "the event `done` is ours" in found


def test_an_event_may_not_carry_an_attribute_that_hides_its_name(tmp_path):
    theirs = area("attributes:\n" + attribute("event.name"))
    using = area(
        "spans:\n" + span("work") + "events:\n  - name: done\n    stability: development\n"
        "    requirement_level: recommended\n    brief: Done.\n"
        "    annotations: {crucible: {signal: event, operation: [work]}}\n"
        "    attributes:\n      - {ref: event.name} # <--\n"
    )
    (found,) = refusals_of(tmp_path, files(**{"upstream/up/attributes.yaml": theirs, "model/small.yaml": using}))
    assert found.startswith(marked_lines(tmp_path)[0])
    assert "would hide its name" in found


def test_a_dependency_that_is_not_there_is_refused_in_the_manifest(tmp_path):
    gone = MANIFEST.replace("./upstream/up", "./upstream/gone # <--")
    found = refusals_of(tmp_path, files(**{"model/manifest.yaml": gone}))
    assert found[0].startswith(f"{marked_lines(tmp_path)[0]}: there is no folder")


def test_a_dependency_of_another_version_is_refused(tmp_path):
    other = UPSTREAM_MANIFEST.replace("2.0.0", "3.0.0 # <--")
    (found,) = refusals_of(tmp_path, files(**{"upstream/up/manifest.yaml": other}))
    assert found.startswith(f"{marked_lines(tmp_path)[0]}: the schema URL is")


def test_a_model_without_a_manifest_is_refused(tmp_path):
    model = write_model(tmp_path, files())
    (model / "manifest.yaml").unlink()
    _, refusals = load(model)
    assert f"{(model / 'manifest.yaml').as_posix()}:1: there is no manifest; write one with a `schema_url`" in refusals
