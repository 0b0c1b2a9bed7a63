"""Which public call records what, as `calls.yaml` beside the model says."""

from dataclasses import dataclass
from pathlib import Path

from semconv.definitions import Registry
from semconv.fields import Fields
from semconv.yaml_nodes import Place, Refusals, read_yaml

__all__ = ["Call", "link_types", "load_calls"]

_LINK_TYPE = "crucible.link.type"
_KINDS = ("records", "links", "metrics")


@dataclass(frozen=True, slots=True)
class Call:
    """A public call, and what it leaves behind."""

    name: str
    """As a user writes it: `training_run`, `TrainingRun.save_checkpoint`."""
    records: tuple[str, ...]
    """Operations and events."""
    links: tuple[str, ...]
    """Link types."""
    metrics: tuple[str, ...]
    place: Place


def load_calls(path: Path, registry: Registry, refusals: Refusals) -> tuple[Call, ...]:
    """Read the file; none where it is not there. A name that the registry lacks, and a call named twice, is refused."""
    root = read_yaml(path, refusals) if path.is_file() else None
    if root is None:
        return ()
    known = {
        "records": {**registry.spans, **registry.events}.keys(),
        "links": link_types(registry).keys(),
        "metrics": registry.metrics.keys(),
    }
    calls: dict[str, Call] = {}
    fields = Fields(root, "the file", refusals, ("calls",))
    for node in fields.sequence("calls"):
        one = Fields(node, "a call", refusals, ("call",), _KINDS)
        name = one.text("call")
        one.what = f"the call `{name}`"
        named = {kind: one.texts(kind) for kind in _KINDS}
        for kind, names in named.items():
            for unknown in (each for each in names if each not in known[kind]):
                one.refuse(kind, f"{one.what} names `{unknown}`, which the model lacks; define it or correct the name")
        if name in calls:
            one.refuse("call", f"{one.what} is listed twice; make it one entry")
        calls[name] = Call(name, **named, place=one.place)
    return tuple(calls.values())


def link_types(registry: Registry) -> dict[str, str]:
    """Each link type to what it says."""
    attribute = registry.attributes.get(_LINK_TYPE)
    return {member.value: member.brief for member in attribute.members} if attribute else {}
