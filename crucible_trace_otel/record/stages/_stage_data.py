"""What goes into a stage and what comes out of it: by digest, size and schema, never a copy of it."""

from collections.abc import Mapping
from hashlib import sha256
from inspect import Signature
from pathlib import Path
from typing import Any, TypeVar

from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._values import as_json, one_line
from crucible_trace_otel.record.stages._artifacts import ArtifactVerbs, remember_maker
from crucible_trace_otel.record.stages._contents import WITHIN_S, Contents
from crucible_trace_otel.record.stages._data import Datum, datum_of, known_datum, path_of, seconds_of
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = ["NOT_GIVEN", "StageData", "combined"]

R = TypeVar("R")
NOT_GIVEN: Any = type("NotGiven", (), {"__repr__": lambda _: "..."})()
"""In the place of a value that is known by its digest alone."""

_MOST = 1_000
_KEYS = {
    "input": (attr.CRUCIBLE_STAGE_INPUT_SHA256, attr.CRUCIBLE_STAGE_INPUT_SIZE, attr.CRUCIBLE_STAGE_INPUT_SCHEMA),
    "output": (attr.CRUCIBLE_STAGE_OUTPUT_SHA256, attr.CRUCIBLE_STAGE_OUTPUT_SIZE, attr.CRUCIBLE_STAGE_OUTPUT_SCHEMA),
}


def combined(digests: Mapping[str, str | None]) -> str | None:
    """One digest of several, by name: that of the only one, else of a line for each; None where one is not known."""
    if not digests or not all(digests.values()):
        return None
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = (f"{digest} {name}\n" for name, digest in sorted(digests.items()))
    return sha256("".join(lines).encode("utf-8", "replace")).hexdigest()


class StageData(ArtifactVerbs):
    """What a stage says of its inputs and outputs."""

    def _prepare(self) -> None:
        super()._prepare()
        self._data: dict[str, dict[str, Datum]] = {"input": {}, "output": {}}

    @guarded(nothing)
    def record_input(
        self,
        value: Any = NOT_GIVEN,
        name: str | None = None,
        *,
        sha256: str | None = None,
        size: int | None = None,
        within: float = WITHIN_S,
    ) -> None:
        """Record what the stage works on, by digest, size and schema; the value itself is not kept.

        Several are told apart by their names, and combined in the order of these. What an earlier stage of this
        process made is linked.

        Args:
            value: A path, or a text that names a file that is there: the content of that, read by another thread.
                Otherwise the value: bytes, text, numbers, containers of such, arrays of numpy, tables of pandas and
                Arrow. Of anything else there is no digest, and the record says so.
            name: What it is called; the file's name where it is not given.
            sha256: SHA-256 of its content, hexadecimal, where it is known; it is not read then.
            size: In bytes, where it is known.
            within: Seconds that digesting it may take; past them there is no digest, and the record says so.
        """
        self._take_datum("input", value, name, sha256=sha256, size=size, within=within)

    @guarded(nothing)
    def record_output(
        self,
        value: Any = NOT_GIVEN,
        name: str | None = None,
        *,
        sha256: str | None = None,
        size: int | None = None,
        within: float = WITHIN_S,
    ) -> None:
        """Record what the stage made, by digest, size and schema; the value itself is not kept.

        Args:
            value: As for `record_input`.
            name: What it is called; the file's name where it is not given.
            sha256: SHA-256 of its content, hexadecimal, where it is known; it is not read then.
            size: In bytes, where it is known.
            within: Seconds that digesting it may take; past them there is no digest, and the record says so.
        """
        self._take_datum("output", value, name, sha256=sha256, size=size, within=within)

    def _wants_data(self) -> bool:
        """Whether somebody asks for what goes in and out; for the rooms to add to."""
        return is_kept(self)

    def _take_datum(
        self, side: str, value: Any, name: Any, *, within: Any, sha256: Any = None, size: Any = None
    ) -> None:
        if not self._wants_data():
            return
        self._is_settled = False
        is_known = sha256 is not None or value is NOT_GIVEN
        path = "" if value is NOT_GIVEN else path_of(value)
        datum = known_datum(sha256, size, path) if is_known else datum_of(value, seconds_of(within))
        if sha256 is not None and not datum.contents().sha256:
            self._repairs[_KEYS[side][0]] = RepairReason.DIGEST
        data = self._data[side] if not self.ended else {}
        if len(data) >= _MOST:
            datum = Datum()
            datum.know(Contents(reason=f"there are more than {_MOST}"))
            data.setdefault("…", datum)
            return
        data[_free_name(data, side, one_line(name) if name is not None else Path(datum.path).name)] = datum
        if self.ended:
            self.set(_told(side, data))
        elif side == "input":
            self._link_maker(datum)

    @guarded(nothing)
    def _take_arguments(self, signature: Signature | None, args: Any, kwargs: Any, within: float) -> None:
        """Record the arguments of a decorated function, all but the object whose method it is."""
        if signature is None:
            named = {str(position): value for position, value in enumerate(args)} | kwargs
        else:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            named = bound.arguments
        for name, value in named.items():
            if name not in ("self", "cls"):
                self._take_datum("input", value, name, within=within)

    @guarded(nothing)
    def _settle_data(self, error: BaseException | str | None) -> None:
        """Tell what went in and came out, and what is not known of it."""
        super()._settle_data(error)
        unknown = []
        for side, data in self._data.items():
            self.set(_told(side, data))
            unknown += [f"{name}: {reason}" for name, datum in data.items() if (reason := datum.contents().reason)]
            for datum in data.values():
                if side == "input":
                    self._link_maker(datum)
                else:
                    remember_maker(self, datum.path, datum.contents())
        self.set({attr.CRUCIBLE_STAGE_UNDIGESTED: [one_line(line) for line in unknown] or None})


def _told(side: str, data: Mapping[str, Datum]) -> dict[str, Any]:
    """The attributes that tell what went in or came out."""
    contents = {name: datum.contents() for name, datum in data.items()}
    sizes = [each.size for each in contents.values() if each.size is not None]
    schema = {name: contents[name].schema for name in sorted(contents) if contents[name].schema is not None}
    digest_key, size_key, schema_key = _KEYS[side]
    return {
        digest_key: combined({name: each.sha256 for name, each in contents.items()}),
        size_key: sum(sizes) if sizes and len(sizes) == len(contents) else None,
        schema_key: as_json(schema) if schema else None,
    }


def _free_name(data: Mapping[str, Any], side: str, name: str) -> str:
    wanted = name or side
    free, number = wanted, 2
    while free in data:
        free, number = f"{wanted}_{number}", number + 1
    return free
