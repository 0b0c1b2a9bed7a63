"""Files, models and data sets that a stage or pipeline makes or uses, linked from who uses them to who made them."""

import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._links import Linkable
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._values import Repairs, marks, one_line
from crucible_trace_otel.record.facts import Dataset, Model, dataset_attributes, model_attributes
from crucible_trace_otel.record.files._files import saved_at
from crucible_trace_otel.record.stages._contents import WITHIN_S, Contents
from crucible_trace_otel.record.stages._data import Datum, datum_of, known_datum, path_of, seconds_of
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv.enums import LinkType, RepairReason

__all__ = ["ArtifactVerbs", "maker_of", "remember_maker"]

_MOST_REMEMBERED = 2_000
_SMALL = 64
_KEYS: Mapping[type, tuple[str, str]] = {
    Dataset: (attr.CRUCIBLE_DATASET_SHA256, attr.CRUCIBLE_DATASET_SIZE),
    Model: (attr.CRUCIBLE_MODEL_SHA256, attr.CRUCIBLE_MODEL_SIZE),
    object: (attr.CRUCIBLE_ARTIFACT_SHA256, attr.CRUCIBLE_ARTIFACT_SIZE),
}
_made: OrderedDict[str, Linkable] = OrderedDict()
"""Path or SHA-256 of what was made to who made it last."""


def remember_maker(maker: Operation, path: str, contents: Contents | None) -> None:
    """Keep that `maker` made what lies at `path`, or has those contents: small ones are alike by chance."""
    said = Recorded(maker.event_id, maker.span_context, maker.operation_name, maker.about)
    keys = [os.path.realpath(path)] if path else []
    if contents is not None and contents.sha256 and (contents.size is None or contents.size >= _SMALL):
        keys.append(contents.sha256)
    for key in keys:
        _made[key] = said
        _made.move_to_end(key)
    while len(_made) > _MOST_REMEMBERED:
        _made.popitem(last=False)


def maker_of(path: str, sha256: str | None) -> Linkable | None:
    """Who made what has this digest, or else what lies at `path`, in this process; None where that is not known."""
    known = _made.get(sha256) if sha256 else None
    if known is None and path:
        known = _made.get(os.path.realpath(path)) or saved_at(path)
    return known


@dataclass(eq=False)
class _Artifact:
    """One that is not recorded yet, for it is still read."""

    event: str
    attributes: Mapping[str, Any]
    keys: tuple[str, str]
    """Where its digest and its size are written."""
    at_ns: int
    datum: Datum


class ArtifactVerbs(Operation):
    """What a stage and a pipeline say of files, models and data sets."""

    def _prepare(self) -> None:
        super()._prepare()
        self._artifacts: dict[int, _Artifact] = {}
        self._used: list[_Artifact] = []
        self._linked_makers: list[str] = []

    @guarded(nothing)
    def produce_artifact(
        self,
        artifact: Any,
        *,
        name: str | None = None,
        sha256: str | None = None,
        size: int | None = None,
        within: float = WITHIN_S,
    ) -> None:
        """Record something that was made here.

        Args:
            artifact: The path of a file or directory, a `Dataset`, a `Model`, what saving a model returned, or any
                other value. Files are read by another thread.
            name: What it is called.
            sha256: SHA-256 of its content, hexadecimal, where it is known; it is not read then.
            size: In bytes, where it is known.
            within: Seconds that digesting it may take; past them it is recorded without a digest.
        """
        self._take_artifact(events.ARTIFACT_PRODUCED, artifact, name, sha256=sha256, size=size, within=within)

    @guarded(nothing)
    def consume_artifact(
        self,
        artifact: Any,
        *,
        name: str | None = None,
        sha256: str | None = None,
        size: int | None = None,
        within: float = WITHIN_S,
    ) -> None:
        """Record something that was used here, with a link to what made it, where this process has recorded that.

        Args:
            artifact: As for `produce_artifact`.
            name: What it is called.
            sha256: SHA-256 of its content, hexadecimal, where it is known; it is not read then.
            size: In bytes, where it is known.
            within: Seconds that digesting it may take; past them it is recorded without a digest.
        """
        self._take_artifact(events.ARTIFACT_CONSUMED, artifact, name, sha256=sha256, size=size, within=within)

    @guarded(nothing)
    def _settle_data(self, error: BaseException | str | None) -> None:
        """Tell what is still read, once it is known, or has taken too long."""
        super()._settle_data(error)
        for artifact in list(self._artifacts.values()):
            artifact.datum.contents()
            self._tell_artifact(artifact)
        for artifact in self._used:
            self._link_maker(artifact.datum)

    def _take_artifact(
        self, event: str, artifact: Any, name: str | None, *, sha256: str | None, size: int | None, within: float
    ) -> None:
        if not is_kept(self):
            return
        self._is_settled = False
        attributes: dict[str, Any] = {attr.CRUCIBLE_ARTIFACT_NAME: name}
        if isinstance(artifact, (Dataset, Model)):
            attributes |= dataset_attributes(artifact) if isinstance(artifact, Dataset) else model_attributes(artifact)
            sha256 = artifact.sha256 if sha256 is None else sha256
            subject, keys = artifact.name, _KEYS[type(artifact)]
            datum = known_datum(sha256, size if size is not None else attributes.get(keys[1]))
        else:
            subject, keys = artifact, _KEYS[object]
            path = path_of(artifact)
            is_name = not path and isinstance(artifact, str)
            by_hand = sha256 is not None or is_name
            datum = known_datum(sha256, size, path) if by_hand else datum_of(artifact, seconds_of(within))
            attributes |= {attr.CRUCIBLE_ARTIFACT_NAME: artifact if is_name and name is None else name}
            attributes |= {attr.CRUCIBLE_ARTIFACT_PATH: path or None}
            subject = path or name or (artifact if is_name else type(artifact).__name__)
        repairs: Repairs = {keys[0]: RepairReason.DIGEST} if sha256 is not None and not datum.contents().sha256 else {}
        given = {attr.CRUCIBLE_ABOUT: one_line(subject), **attributes, **marks(repairs)}
        taken = _Artifact(event, given, keys, self._now_ns(), datum)
        self._artifacts[id(taken)] = taken
        if event == events.ARTIFACT_CONSUMED and not self._link_maker(datum):
            self._used.append(taken)
        datum.when_known(partial(self._tell_artifact, taken))

    @guarded(nothing)
    def _tell_artifact(self, artifact: _Artifact) -> None:
        """Record it, once: here or on the thread that reads it."""
        if self._artifacts.pop(id(artifact), None) is None:
            return
        contents = artifact.datum.contents() if artifact.datum.is_known else Contents()
        digest_key, size_key = artifact.keys
        known = {digest_key: contents.sha256, size_key: contents.size}
        emit_event(self, artifact.event, {**artifact.attributes, **known}, None if self.ended else artifact.at_ns)
        if artifact.event == events.ARTIFACT_PRODUCED:
            remember_maker(self, artifact.datum.path, contents)

    def _link_maker(self, datum: Datum) -> bool:
        """Link to who made it, if that is known by now; whether it is."""
        maker = maker_of(datum.path, datum.contents().sha256 if datum.is_known else None)
        if maker is None or maker.event_id in (self.event_id, *self._linked_makers):
            return maker is not None
        self._linked_makers.append(maker.event_id)
        self.link(LinkType.CONSUMES, maker)
        return True
