"""Checkpoints and models on disk: recorded with path, size, SHA-256 and duration, and found again by their path."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.trace import SpanContext

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._links import Linkable, Links, LinkTargets
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record.files._digests import FileDigest, digest_later
from crucible_trace_otel.record.files._sidecar import Sidecar
from crucible_trace_otel.record.files._sidecar_files import read_sidecar
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType

if TYPE_CHECKING:
    import threading

__all__ = [
    "FileOperation",
    "ModelFile",
    "ModelLoad",
    "Origin",
    "StoredFile",
    "as_text",
    "origin_in",
    "origin_of",
    "saved_at",
    "saved_with",
]

_MOST_REMEMBERED = 1_000
_saved: OrderedDict[str, "FileOperation"] = OrderedDict()


@dataclass(eq=False)
class StoredFile:
    """A checkpoint or model that was saved or loaded; other records may depend on it."""

    path: str
    operation: "FileOperation" = field(repr=False)
    value: Any = None
    """What the `write=` or `read=` function returned."""

    @property
    def event_id(self) -> str:
        """Its id, 32 hex digits; empty when nothing is configured."""
        return self.operation.event_id

    @property
    def span_context(self) -> SpanContext:
        """The span that saved or loaded it."""
        return self.operation.span_context

    @property
    def operation_name(self) -> str:
        """The convention's name for what was done with it."""
        return self.operation.operation_name

    @property
    def about(self) -> str:
        """Its summary: the path."""
        return self.operation.about

    def digest(self, timeout: float | None = None) -> FileDigest:
        """Size and SHA-256, waiting up to `timeout` seconds (for ever when None) until they are computed."""
        return self.operation._digest_within(timeout)


@dataclass(frozen=True, slots=True)
class Origin:
    """How a file that is loaded was saved."""

    saving: Linkable
    digest: Callable[[], FileDigest]
    """What it was then."""
    run: Linkable | None = None
    """The training run that saved it."""
    model: tuple[str | None, str | None] = (None, None)
    """Name and version of the model."""
    sidecar: Sidecar | None = None
    """Where it is known from that: another process saved it."""


def _without_digest(operation: "FileOperation") -> None:
    """The fallback where no digest could be ordered: the file operation ends all the same."""
    operation.stop()


class FileOperation(Operation):
    """Writing or reading a file, as a span that ends, as seen by the trace, when the file is written or read."""

    path_key: ClassVar[str]
    size_key: ClassVar[str]
    sha256_key: ClassVar[str]
    changed_key: ClassVar[str]
    mismatch_key: ClassVar[str]
    saves: ClassVar[bool]

    def __init__(
        self,
        path: str | os.PathLike[str],
        attributes: Mapping[str, Any],
        *,
        of: Operation | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        given = {self.path_key: path, **attributes}
        super().__init__(path, of=of, attributes=given, depends_on=depends_on, links=links)
        self.path = path
        self._path = as_text(path)
        self._digest = FileDigest()
        self._digested: threading.Event | None = None
        self.origin: Origin | None = None
        """How what was loaded had been saved, where that is known."""
        self.is_mismatch = False
        """Whether what was loaded is known not to be that."""

    @property
    def made_by(self) -> Linkable | None:
        """The training run whose file it is, where it is of one."""
        return None

    def perform(self, action: Callable[[Any], Any] | None) -> StoredFile:
        """Do it: call `action` with the path, if one is given, and let its exception go on."""
        self.start()
        stored = StoredFile(self._path, self)
        if action is not None:
            try:
                stored.value = action(self.path)
            except BaseException as error:
                self.fail(error)
                raise
        self._digest_later()
        return stored

    def _digest_within(self, timeout: float | None) -> FileDigest:
        if self._digested is not None:
            self._digested.wait(timeout)
        return self._digest

    @guarded(_without_digest)
    def _digest_later(self) -> None:
        """Leave the context now; the span ends when its digest is known, with the time of now."""
        if not self.is_recording:
            self.stop()
            return
        ended_at = self._now_ns()
        self._leave()
        origin = self.origin = None if self.saves else origin_of(self._path)
        if origin is not None and origin.sidecar is not None:
            self.set(self._said_by(origin.sidecar))
        if origin is not None:
            self.link(LinkType.PRODUCED_BY, origin.saving)
        if self.saves and self._path:
            _saved[_real(self._path)] = self
            while len(_saved) > _MOST_REMEMBERED:
                _saved.popitem(last=False)

        def done(digest: FileDigest) -> None:
            if digest.sha256 is not None and not self._is_latest():
                digest = FileDigest(digest.size, changed=True)
            self._digest = digest
            self.set(
                {
                    self.size_key: digest.size,
                    self.sha256_key: digest.sha256,
                    self.changed_key: digest.changed,
                }
            )
            if origin is not None and _differs(digest, origin.digest()):
                self.is_mismatch = True
                self.set({self.mismatch_key: True})
                warn_once(f"mismatch {self._path}", f"{self.about} is not what was saved there: its digest differs.")
            self._finish(None, ended_at)

        self._digested = digest_later(self._path, done, self._written(ended_at))

    def _said_by(self, sidecar: Sidecar) -> dict[str, Any]:  # noqa: ARG002 - for the rooms
        """Attributes from the sidecar of what another process saved; for the rooms to override."""
        return {}

    def _written(self, at_ns: int) -> Callable[[FileDigest], None]:  # noqa: ARG002 - for the rooms
        """The file is there. What this returns is called on another thread with its digest; for rooms to override."""
        return nothing

    def _is_latest(self) -> bool:
        """Whether nothing was saved in its place; else what lies there now is not what it saved."""
        return not self.saves or saved_at(self._path) in (None, self)


class ModelFile(FileOperation):
    """Writing or reading a model."""

    path_key = attr.CRUCIBLE_MODEL_PATH
    size_key = attr.CRUCIBLE_MODEL_SIZE
    sha256_key = attr.CRUCIBLE_MODEL_SHA256
    changed_key = attr.CRUCIBLE_MODEL_CHANGED
    mismatch_key = attr.CRUCIBLE_MODEL_DIGEST_MISMATCH


def _unknown(_: str) -> Origin | None:
    """The fallback where it could not be found out."""
    return None


class ModelLoad(ModelFile):
    """Reading a model."""

    operation_name = spans.MODEL_LOAD
    saves = False


@guarded(_unknown)
def origin_of(path: str) -> Origin | None:
    """How what lies at `path` was saved: by this process, or by another, where the sidecar says that it did since."""
    saved = saved_at(path)
    sidecar = read_sidecar(path) if path else None
    if sidecar is not None and (saved is None or saved.event_id != sidecar.event_id):
        model = sidecar.model_name, sidecar.model_version
        return Origin(sidecar.saving(path), lambda: sidecar.digest, sidecar.run(), model, sidecar)
    return None if saved is None else origin_in(saved)


def saved_with(sha256: str) -> Origin | None:
    """How the file of that digest was saved, where this process saved it."""
    found = (saved for saved in reversed(list(_saved.values())) if saved._digest.sha256 == sha256)
    saved = next(found, None)
    return None if saved is None else origin_in(saved)


def origin_in(saved: FileOperation) -> Origin:
    """What `saved`, of this process, saved."""
    name, version = (saved._given.get(key) for key in (attr.CRUCIBLE_MODEL_NAME, attr.CRUCIBLE_MODEL_VERSION))
    return Origin(saved, lambda: saved._digest_within(0), saved.made_by, (name, version))


def saved_at(path: str) -> FileOperation | None:
    """The last saving at `path` that this process recorded; None where that is empty."""
    return _saved.get(_real(path)) if path else None


@guarded(lambda _: "")
def as_text(path: Any) -> str:
    """The path as text; empty for what is no path, such as an open file."""
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""


def _differs(found: FileDigest, saved: FileDigest) -> bool:
    return bool(found.sha256 and saved.sha256 and found.sha256 != saved.sha256)


def _real(path: str) -> str:
    return os.path.realpath(path)
