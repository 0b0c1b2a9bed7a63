"""Loading the convention: its manifest, its files, the registries it refers to, then the rules over all of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from semconv.definitions import Attribute, Event, Group, Metric, Registry, Span
from semconv.fields import Fields
from semconv.read_definitions import STABILITIES, DefinitionReader
from semconv.rules import check
from semconv.yaml_nodes import Node, Place, Refusals, read_yaml

__all__ = ["load"]

MANIFEST = "manifest.yaml"
FILE_FORMAT = "definition/2"
_Definition = TypeVar("_Definition", Attribute, Group, Span, Event, Metric)

SECTIONS = ("attributes", "attribute_groups", "spans", "events", "metrics")
UPSTREAM_SECTIONS = ("attributes", "events")


def load(model: Path) -> tuple[Registry, Refusals]:
    """Read the model in a folder; the registry is fit for use only where nothing was refused."""
    loading = _Loading()
    schema_url = loading.manifest(model, wanted=None)
    for path in sorted(model.glob("*.yaml")):
        if path.name != MANIFEST:
            loading.file(path, upstream=False)
    registry = Registry(
        schema_url=schema_url,
        attributes=loading.attributes,
        groups=loading.groups,
        spans=loading.spans,
        events=loading.events,
        metrics=loading.metrics,
        areas=loading.areas,
    )
    check(registry, loading.refusals)
    return registry, loading.refusals


@dataclass(slots=True)
class _Loading:
    refusals: Refusals = field(default_factory=Refusals)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    spans: dict[str, Span] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)
    areas: dict[str, str] = field(default_factory=dict)

    def manifest(self, folder: Path, wanted: str | None) -> str:
        """Read a registry's manifest, then what it depends on; returns its schema URL."""
        path = folder / MANIFEST
        if not path.is_file():
            self.refusals.add(Place(path, 1), "there is no manifest; write one with a `schema_url`")
            return ""
        root = read_yaml(path, self.refusals)
        if root is None:
            return ""
        fields = Fields(
            root, "the manifest", self.refusals, ("schema_url", "description"), ("stability", "dependencies")
        )
        fields.text("description")
        fields.choice("stability", STABILITIES, STABILITIES[0])
        schema_url = fields.text("schema_url")
        if wanted is not None and schema_url != wanted:
            fields.refuse(
                "schema_url",
                f"the schema URL is `{schema_url}` and the manifest that refers here says `{wanted}`; make them one",
            )
        for dependency in fields.sequence("dependencies"):
            self._dependency(folder, dependency)
        return schema_url

    def _dependency(self, folder: Path, node: Node) -> None:
        fields = Fields(node, "a dependency", self.refusals, ("schema_url", "registry_path"))
        # Weaver is run beside the model's folder, and reads the path from there.
        target = folder.parent / fields.text("registry_path")
        if not target.is_dir():
            fields.refuse(
                "registry_path",
                f"there is no folder `{target.name}` at this path; give one relative to the model's parent",
            )
            return
        self.manifest(target, wanted=fields.text("schema_url"))
        for path in sorted(target.glob("*.yaml")):
            if path.name != MANIFEST:
                self.file(path, upstream=True)

    def file(self, path: Path, *, upstream: bool) -> None:
        """Read one file of definitions."""
        root = read_yaml(path, self.refusals)
        if root is None:
            return
        if not upstream:
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            self.areas[path.stem] = first.removeprefix("#").strip() if first.startswith("#") else path.stem
        sections = UPSTREAM_SECTIONS if upstream else SECTIONS
        fields = Fields(root, "the file", self.refusals, ("file_format",), sections)
        fields.choice("file_format", (FILE_FORMAT,), FILE_FORMAT)
        reader = DefinitionReader(path.stem, upstream, self.refusals)
        for node in fields.sequence("attributes"):
            attribute = reader.attribute(node)
            self._keep(self.attributes, attribute.key, attribute)
        for node in fields.sequence("attribute_groups"):
            group = reader.group(node)
            self._keep(self.groups, group.id, group)
        for node in fields.sequence("spans"):
            span = reader.span(node)
            self._keep(self.spans, span.name, span)
        for node in fields.sequence("events"):
            event = reader.event(node)
            self._keep(self.events, event.name, event)
        for node in fields.sequence("metrics"):
            metric = reader.metric(node)
            self._keep(self.metrics, metric.name, metric)

    def _keep(self, kept: dict[str, _Definition], name: str, definition: _Definition) -> None:
        if name in kept:
            self.refusals.add(definition.place, f"`{name}` is a duplicate of {kept[name].place}; keep one of them")
        elif name:
            kept[name] = definition
