"""From YAML nodes to definitions: the shape of weaver's `definition/2`, and our extras under `annotations.crucible`."""

import re
from dataclasses import dataclass

from semconv.definitions import (
    Attribute,
    Boundary,
    Deprecation,
    Event,
    Example,
    Group,
    GroupReference,
    Member,
    Metric,
    Reference,
    RequirementLevel,
    Span,
)
from semconv.fields import Fields, one_of
from semconv.yaml_nodes import Node, Refusals, Scalar

__all__ = ["DefinitionReader"]

STABILITIES = ("development", "alpha", "beta", "release_candidate", "stable")
LEVELS: tuple[RequirementLevel, ...] = ("required", "conditionally_required", "recommended", "opt_in")
SIGNAL_LEVELS = ("recommended", "opt_in")
SCALAR_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "int": int,
    "double": (int, float),
    "boolean": bool,
    "bytes": (),
    "scalar": (str, int, float, bool),
}
TYPES = ("string", "int", "double", "boolean", "string[]", "int[]", "double[]", "boolean[]")
ANY_VALUES = ("bytes", "scalar")
TEMPLATE = re.compile(r"template\[(.*)\]")
INSTRUMENTS = ("counter", "updowncounter", "gauge", "histogram")
KINDS = ("internal", "client", "server", "producer", "consumer")
SEVERITIES = ("info", "warn", "error")
MOMENTS = ("start", "end", "interruption")
REASONS = ("renamed", "obsoleted", "uncategorized")
COMMON_KEYS = ("stability", "requirement_level", "brief")
COMMON_EXTRAS = ("note", "attributes", "deprecated", "annotations")


@dataclass(slots=True)
class DefinitionReader:
    """Reads the definitions of one file."""

    area: str
    upstream: bool
    refusals: Refusals

    def attribute(self, node: Node) -> Attribute:
        """One entry of `attributes`."""
        fields = Fields(
            node,
            "an attribute",
            self.refusals,
            ("key", "type", "stability", "brief"),
            ("note", "examples", "deprecated", "annotations"),
        )
        key = fields.text("key")
        fields.what = f"the attribute `{key}`"
        extras = self._extras(fields, ("content", "unit", "value", "enum", "members"))
        type_, template, members = self._type(fields, extras)
        members = members or tuple(self._member(item, key) for item in extras.sequence("members"))
        enum = extras.text("enum") or None
        if members and enum is None:
            fields.refuse(
                "type", f"the values of `{key}` have no class; name it in `annotations: {{crucible: {{enum: ...}}}}`"
            )
        if enum is not None and not members:
            extras.refuse("enum", f"the class `{enum}` of `{key}` has no values; list them as members")
        return Attribute(
            key=key,
            type=type_,
            template=template,
            brief=fields.sentence("brief"),
            note=fields.text("note"),
            stability=fields.choice("stability", STABILITIES, STABILITIES[0]),
            examples=self._examples(fields, type_, bool(members)),
            content=extras.flag("content"),
            unit=extras.text("unit") or None,
            enum=enum,
            members=members,
            deprecated=self._deprecation(fields),
            upstream=self.upstream,
            area=self.area,
            place=fields.place,
        )

    def group(self, node: Node) -> Group:
        """One entry of `attribute_groups`."""
        fields = Fields(
            node,
            "an attribute group",
            self.refusals,
            ("id", "visibility", "attributes"),
            ("brief", "stability", "note"),
        )
        name = fields.text("id")
        fields.what = f"the group `{name}`"
        public = fields.choice("visibility", ("internal", "public"), "internal") == "public"
        if public and fields.node("brief") is None:
            fields.refuse("brief", f"{fields.what} is public and has no `brief`; add it")
        for key in ("brief", "stability", "note"):
            if not public and fields.node(key) is not None:
                fields.refuse(
                    key, f"{fields.what} is internal and may have no `{key}`; make it public or remove the key"
                )
        fields.choice("stability", STABILITIES, STABILITIES[0])
        references = self._references(fields, spans=False)
        for reference in references:
            if isinstance(reference, GroupReference):
                self.refusals.add(
                    reference.place, f"{fields.what} refers to another group; list the attributes themselves"
                )
        return Group(
            id=name,
            public=public,
            brief=fields.sentence("brief"),
            references=tuple(item for item in references if isinstance(item, Reference)),
            area=self.area,
            place=fields.place,
        )

    def span(self, node: Node) -> Span:
        """One entry of `spans`."""
        fields = Fields(node, "a span", self.refusals, ("type", "kind", "name", *COMMON_KEYS), COMMON_EXTRAS)
        span_type = fields.text("type")
        fields.what = f"the span `{span_type}`"
        extras = self._extras(fields, ("signal", "operation", "boundary", "long"))
        if extras.node("signal") is None:
            fields.refuse(
                "annotations", f"{fields.what} has no signal; add `annotations: {{crucible: {{signal: span}}}}`"
            )
        title = fields.node("name")
        return Span(
            type=span_type,
            name=span_type.rpartition(".")[2],
            kind=fields.choice("kind", KINDS, "internal"),
            span_name="" if title is None else Fields(title, "a span's name", self.refusals, ("note",)).text("note"),
            signal=extras.choice("signal", ("span", "both"), "span"),
            boundary=self._boundary(extras),
            long=extras.flag("long"),
            brief=fields.sentence("brief"),
            note=fields.text("note"),
            stability=fields.choice("stability", STABILITIES, STABILITIES[0]),
            level=fields.choice("requirement_level", SIGNAL_LEVELS, SIGNAL_LEVELS[0]),
            references=self._references(fields, spans=True),
            operations=extras.texts("operation"),
            deprecated=self._deprecation(fields),
            area=self.area,
            place=fields.place,
        )

    def event(self, node: Node) -> Event:
        """One entry of `events`."""
        fields = Fields(node, "an event", self.refusals, ("name", *COMMON_KEYS), COMMON_EXTRAS)
        name = fields.text("name")
        fields.what = f"the event `{name}`"
        extras = self._extras(fields, ("signal", "operation", "boundary", "liftable", "severity", "foreign"))
        for key in ("signal", "operation"):
            if extras.node(key) is None and not self.upstream:
                fields.refuse(
                    "annotations", f"{fields.what} has no {key}; add it in `annotations: {{crucible: {{{key}: ...}}}}`"
                )
        return Event(
            name=name,
            signal=extras.choice("signal", ("event", "both"), "event"),
            boundary=self._boundary(extras),
            liftable=extras.flag("liftable"),
            severity=extras.choice("severity", SEVERITIES, SEVERITIES[0]),
            foreign=extras.flag("foreign"),
            upstream=self.upstream,
            brief=fields.sentence("brief"),
            note=fields.text("note"),
            stability=fields.choice("stability", STABILITIES, STABILITIES[0]),
            level=fields.choice("requirement_level", SIGNAL_LEVELS, SIGNAL_LEVELS[0]),
            references=self._references(fields, spans=False),
            operations=extras.texts("operation"),
            deprecated=self._deprecation(fields),
            area=self.area,
            place=fields.place,
        )

    def metric(self, node: Node) -> Metric:
        """One entry of `metrics`."""
        fields = Fields(node, "a metric", self.refusals, ("name", "instrument", "unit", *COMMON_KEYS), COMMON_EXTRAS)
        name = fields.text("name")
        fields.what = f"the metric `{name}`"
        extras = self._extras(fields, ("operation",), beside=("code_generation",))
        return Metric(
            name=name,
            instrument=fields.choice("instrument", INSTRUMENTS, INSTRUMENTS[0]),
            unit=fields.text("unit"),
            value_type=self._value_type(fields),
            brief=fields.sentence("brief"),
            note=fields.text("note"),
            stability=fields.choice("stability", STABILITIES, STABILITIES[0]),
            level=fields.choice("requirement_level", SIGNAL_LEVELS, SIGNAL_LEVELS[0]),
            references=self._references(fields, spans=False),
            operations=extras.texts("operation"),
            deprecated=self._deprecation(fields),
            area=self.area,
            place=fields.place,
        )

    def _type(self, fields: Fields, extras: Fields) -> tuple[str, bool, tuple[Member, ...]]:
        node = fields.node("type")
        if node is None:
            return "string", False, ()
        if node.entries() is not None:
            enum = Fields(node, f"the type of {fields.what}", self.refusals, ("members",))
            return "string", False, tuple(self._member(item, fields.what) for item in enum.sequence("members"))
        written = fields.text("type")
        found = TEMPLATE.fullmatch(written)
        inner = found[1] if found else written
        if inner == "any":
            if extras.node("value") is None:
                allowed = one_of(ANY_VALUES)
                fields.refuse(
                    "type",
                    f"{fields.what} may be anything; choose a type, or say in `annotations: "
                    f"{{crucible: {{value: ...}}}}` that it is {allowed}",
                )
            return extras.choice("value", ANY_VALUES, "scalar"), found is not None, ()
        if extras.node("value") is not None:
            extras.refuse("value", f"{fields.what} has a `value` beside a type that says it; remove it")
        if inner not in TYPES:
            what = "a template of an unknown type" if found else "an unknown type"
            fields.refuse(
                "type", f"{fields.what} has {what}: `{inner}`; use {one_of(TYPES)}, alone or in `template[...]`"
            )
            return "string", found is not None, ()
        if found and extras.node("members") is not None:
            fields.refuse(
                "type", f"{fields.what} is a template and has members; make it an attribute, or remove the members"
            )
        return inner, found is not None, ()

    def _member(self, node: Node, owner: str) -> Member:
        fields = Fields(node, "an enum member", self.refusals, ("id", "value", "brief", "stability"), ("note",))
        name = fields.text("id")
        fields.what = f"the member `{name}` of {owner}"
        return Member(
            id=name,
            value=fields.text("value"),
            brief=fields.sentence("brief"),
            stability=fields.choice("stability", STABILITIES, STABILITIES[0]),
            place=fields.place,
        )

    def _examples(self, fields: Fields, type_: str, has_members: bool) -> tuple[Example, ...]:  # noqa: FBT001
        if fields.node("examples") is None:
            if not has_members and type_ != "bytes":
                fields.refuse("examples", f"{fields.what} has no `examples`; add at least one")
            return ()
        inner, array = type_.removesuffix("[]"), type_.endswith("[]")
        found: list[Example] = []
        for item in fields.sequence("examples"):
            parts = item.items() if array else (item,)
            values = tuple(part.value for part in parts or () if _fits(part.value, inner))
            if parts is None or len(values) != len(parts):
                self.refusals.add(item.place, f"an example of {fields.what} is not of type `{type_}`; correct it")
            elif array:
                found.append(tuple(value for value in values if isinstance(value, Scalar)))
            else:
                found.extend(value for value in values if isinstance(value, Scalar))
        return tuple(found)

    def _references(self, fields: Fields, *, spans: bool) -> tuple[Reference | GroupReference, ...]:
        return tuple(self._reference(item, fields.what, spans=spans) for item in fields.sequence("attributes"))

    def _reference(self, node: Node, owner: str, *, spans: bool) -> Reference | GroupReference:
        entries = node.entries() or {}
        if "ref_group" in entries:
            group = Fields(node, f"a group reference of {owner}", self.refusals, ("ref_group",))
            return GroupReference(group.text("ref_group"), node.place)
        optional = ("requirement_level", "sampling_relevant") if spans else ("requirement_level",)
        fields = Fields(node, f"a reference of {owner}", self.refusals, ("ref",), optional)
        level, condition = self._level(fields)
        return Reference(fields.text("ref"), level, condition, fields.flag("sampling_relevant"), node.place)

    def _level(self, fields: Fields) -> tuple[RequirementLevel, str]:
        node = fields.node("requirement_level")
        if node is None:
            return "recommended", ""
        entries = node.entries()
        if entries is not None and len(entries) == 1:
            ((key, _),) = entries.items()
            if key in LEVELS and key != "required":
                condition = Fields(node, "a requirement level", self.refusals, (key,))
                return next(level for level in LEVELS if level == key), condition.sentence(key)
        if node.value == "conditionally_required":
            fields.refuse(
                "requirement_level",
                f"a requirement level of {fields.what} names no condition; write `conditionally_required: If ...`",
            )
            return "conditionally_required", ""
        chosen = fields.choice("requirement_level", LEVELS, "recommended")
        return next(level for level in LEVELS if level == chosen), ""

    def _deprecation(self, fields: Fields) -> Deprecation | None:
        node = fields.node("deprecated")
        if node is None:
            return None
        inner = Fields(node, f"the deprecation of {fields.what}", self.refusals, ("reason", "note"), ("renamed_to",))
        reason = inner.choice("reason", REASONS, REASONS[-1])
        renamed_to = inner.text("renamed_to") or None
        if (reason == "renamed") != (renamed_to is not None):
            inner.refuse(
                "reason",
                f"{fields.what} is renamed without a new name, or has one without being renamed; `reason: renamed` "
                "goes "
                "with `renamed_to`",
            )
        return Deprecation(reason, inner.sentence("note"), renamed_to, node.place)

    def _boundary(self, extras: Fields) -> Boundary | None:
        node = extras.node("boundary")
        if node is None:
            return None
        fields = Fields(node, "a boundary", self.refusals, ("span", "at"))
        return Boundary(fields.text("span"), fields.choice("at", MOMENTS, MOMENTS[0]), node.place)

    def _value_type(self, fields: Fields) -> str:
        annotations = (entries.entries() if (entries := fields.node("annotations")) else None) or {}
        if "code_generation" not in annotations:
            fields.refuse(
                "annotations",
                f"{fields.what} has no value type; add `annotations: "
                f"{{code_generation: {{metric_value_type: double}}}}`",
            )
            return "double"
        inner = Fields(annotations["code_generation"], "code generation", self.refusals, ("metric_value_type",))
        return inner.choice("metric_value_type", ("int", "double"), "double")

    def _extras(self, fields: Fields, allowed: tuple[str, ...], beside: tuple[str, ...] = ()) -> Fields:
        node = fields.node("annotations")
        if node is None:
            return Fields(Node(fields.place, {}), f"the extras of {fields.what}", self.refusals, (), allowed)
        outer = Fields(node, f"`annotations` of {fields.what}", self.refusals, (), ("crucible", *beside))
        inner = outer.node("crucible") or Node(node.place, {})
        return Fields(inner, f"`annotations.crucible` of {fields.what}", self.refusals, (), allowed)


def _fits(value: object, type_: str) -> bool:
    if isinstance(value, bool) and type_ in {"int", "double"}:
        return False
    return isinstance(value, SCALAR_TYPES[type_])
