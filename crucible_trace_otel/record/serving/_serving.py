"""What a deployment serves: the saved model or checkpoint, the run that made it, and what inferences say of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.trace import SpanContext

from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._links import Linkable, LinkTarget
from crucible_trace_otel.record._unexpected import digest_in
from crucible_trace_otel.record._values import Repairs
from crucible_trace_otel.record.facts import Model, model_attributes
from crucible_trace_otel.record.files._files import (
    FileOperation,
    Origin,
    StoredFile,
    as_text,
    origin_in,
    origin_of,
    saved_with,
)
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import LinkType

__all__ = ["Served", "served_by", "served_file"]

_CARRIED = (attr.CRUCIBLE_MODEL_NAME, attr.CRUCIBLE_MODEL_VERSION)
"""What inferences and their metric say of the model, too."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model in service, so far as it is known."""

    target: LinkTarget | None = None
    """The span that saved it, to link to."""
    run: Linkable | None = None
    """The training run that made it."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    file: FileOperation | None = None
    """What saved or loaded it in this process, whose digest may be known later."""

    def links(self) -> dict[str, Any]:
        """The links of its deployment."""
        known = {LinkType.SERVES: self.target, LinkType.DEPLOYED_FROM: self.run}
        return {link_type: target for link_type, target in known.items() if target is not None}

    def now(self) -> dict[str, Any]:
        """The attributes, with what has become known of its file."""
        return dict(self.attributes) if self.file is None else {**self.attributes, **_facts(self.file)}

    def carried(self) -> dict[str, Any]:
        """The attributes that an inference has, too."""
        return {key: self.attributes[key] for key in _CARRIED if self.attributes.get(key) is not None}


@guarded(lambda *_: Served())
def served_by(given: Any, repairs: Repairs) -> Served:
    """What `model=` of a deployment says.

    Args:
        given: What saved or loaded it (a record, or its span context), a path, a `Model`, or a name. A text is a path
            where a model or checkpoint of this package's lies there.
        repairs: Is told of a digest that cannot be one.
    """
    if isinstance(given, StoredFile):
        return served_file(given)
    if isinstance(given, Model):
        key = attr.CRUCIBLE_MODEL_SHA256
        known = model_attributes(given)
        known[key] = digest_in(repairs, key, known[key])
        return _from_origin(saved_with(str(known[key])), known)
    if given is None or isinstance(given, SpanContext) or hasattr(given, "span_context"):
        return Served(given)
    path = as_text(given)
    origin = origin_of(path)
    if origin is None and (isinstance(given, str) or not path):
        return Served(attributes={attr.CRUCIBLE_MODEL_NAME: given})
    return _from_origin(origin, {attr.CRUCIBLE_MODEL_PATH: path})


def served_file(stored: StoredFile) -> Served:
    """What this process saved, or loaded: then it is what was saved, where that is known."""
    file = stored.operation
    return _from_origin(origin_in(file) if file.saves else file.origin, _facts(file), file)


def _from_origin(origin: Origin | None, known: Mapping[str, Any], file: FileOperation | None = None) -> Served:
    if origin is None:
        return Served(attributes=known, file=file)
    name, version = origin.model
    said = {key: value for key, value in known.items() if value is not None}
    attributes = {
        attr.CRUCIBLE_MODEL_NAME: name,
        attr.CRUCIBLE_MODEL_VERSION: version,
        attr.CRUCIBLE_MODEL_SHA256: origin.digest().sha256,
        **said,
    }
    return Served(origin.saving, origin.run, attributes, file)


def _facts(file: FileOperation) -> dict[str, Any]:
    """What is known of a file by now, as it was loaded or saved."""
    digest = file._digest_within(0)
    known = {
        attr.CRUCIBLE_MODEL_PATH: file._path or None,
        attr.CRUCIBLE_MODEL_SHA256: digest.sha256,
        attr.CRUCIBLE_MODEL_CHANGED: digest.changed,
        attr.CRUCIBLE_MODEL_DIGEST_MISMATCH: file.is_mismatch or None,
    }
    return {key: value for key, value in known.items() if value is not None}
