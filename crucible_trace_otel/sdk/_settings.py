"""What `configure()` was told: arguments first, then the environment, then the defaults."""

import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from opentelemetry.sdk.trace import SpanLimits

from crucible_trace_otel.errors import ConfigurationError, FormatError, warn_once
from crucible_trace_otel.journal.files import make_private_directory
from crucible_trace_otel.journal.sizes import DEFAULT_BUDGET, Budget
from crucible_trace_otel.journal.writer import Sync
from crucible_trace_otel.record.processes._launchers import ProcessRank
from crucible_trace_otel.sdk._variables import (
    OFF,
    amount,
    amount_or_off,
    limit,
    one_of,
    otlp,
    positive,
    seconds,
    seconds_or_off,
    switch,
    sync,
    variable,
)
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.ship.destination import TEXT_LIMIT
from crucible_trace_otel.ship.ranks import ALL_RANKS, CHOICES

if TYPE_CHECKING:
    from crucible_trace_otel.prices import PriceTable

__all__ = [
    "COMPRESSIONS",
    "EventSignal",
    "Protocol",
    "Settings",
    "Ship",
    "Signal",
    "Target",
    "read_settings",
    "span_limits",
]

Protocol = Literal["http/protobuf", "grpc"]
_PROTOCOLS: tuple[Protocol, ...] = ("http/protobuf", "grpc")
Ship = Literal["process", "thread", "off"]
_SHIPS: tuple[Ship, ...] = ("process", "thread", "off")
EventSignal = Literal["spans", "logs", "both"]
_EVENT_SIGNALS: tuple[EventSignal, ...] = ("spans", "logs", "both")
Signal = Literal["TRACES", "LOGS", "METRICS"]
COMPRESSIONS = ("none", "gzip", "deflate")
_JOURNAL = ".crucible"
_QUEUE = 16_384  # the SDK's 2,048 overflow at 400 spans a second, and what overflows is not sent
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TRACES_PATH = "/v1/traces"


@dataclass(frozen=True, slots=True)
class Target:
    """Where one signal is sent."""

    endpoint: str
    protocol: Protocol


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `configure()` decides by, checked."""

    resource_attributes: dict[str, Any]
    """About this process; its service name is one of them."""
    journal: Path | None
    """Where ended spans are stored; None for nowhere."""
    endpoint: str | None
    """Where they are sent, with the path of the traces signal for HTTP; None for nowhere."""
    protocol: Protocol
    headers: dict[str, str] | None
    timeout_s: float
    compression: str | None
    certificates: tuple[str | None, str | None, str | None]
    """Paths: the authority to trust, and the client's key and certificate."""
    ship: Ship
    """Who sends what the journal holds."""
    linger_s: float
    """How long the process that sends goes on trying when the last one that records has ended."""
    exit_wait_s: float
    """How long the end of this process may wait for what is not sent, where sending would end with it."""
    sync: Sync
    progress_s: float
    limit_bytes: int
    """What the journal may take on the disk."""
    trace_budget: Budget
    """What one trace may hold before a training run goes on in another."""
    text_limit: int
    """Bytes of a text that are sent; 0 for all of it."""
    queue_size: int
    """Ended spans that may wait to be sent."""
    batch_size: int
    """Spans in one request, at most."""
    schedule_delay_ms: int
    console: bool
    event_signal: EventSignal
    """What events become."""
    logs: Target | None
    """Where log records of ours are sent; None for nowhere."""
    metrics: Target | None
    """Where metrics of ours are sent; None for nowhere."""
    prices: "PriceTable | None" = None
    """What calls of language models are priced by."""
    export_ranks: str = ALL_RANKS
    """Of which processes of a run what the journal holds is sent."""
    rank: ProcessRank | Literal[False] | None = None
    """Which process of a run this is; None for what the environment says, False for none."""
    says_who: bool = False
    """Whether an argument says what this process is, which a provider of somebody else knows already."""
    says_where: bool = False
    """Whether an argument says where spans are sent, though such a provider may send them too."""


def read_settings(
    *,
    service_name: str | None,
    resource_attributes: Mapping[str, Any] | None,
    journal: str | os.PathLike[str] | bool | None,
    endpoint: str | None,
    protocol: str | None,
    headers: Mapping[str, str] | None,
    console: bool | None,
    ship: str | None = None,
    event_signal: str | None = None,
    prices: "PriceTable | str | os.PathLike[str] | None" = None,
    rank: Any = None,
) -> Settings:
    """Check the arguments and the environment.

    Raises:
        ConfigurationError: An argument cannot be used. A variable that cannot be used is a warning and its default.
    """
    chosen = _protocol(protocol, endpoint)
    events_become = _event_signal(event_signal)
    queue_size = variable("OTEL_BSP_MAX_QUEUE_SIZE", positive, _QUEUE)
    return Settings(
        resource_attributes=_resource_attributes(service_name, resource_attributes),
        journal=_journal(journal),
        endpoint=_endpoint(endpoint, chosen),
        protocol=chosen,
        headers=_headers(headers, chosen),
        timeout_s=variable(otlp("TIMEOUT"), seconds, 10.0),
        compression=variable(otlp("COMPRESSION"), one_of(COMPRESSIONS), None),
        certificates=(_path("CERTIFICATE"), _path("CLIENT_KEY"), _path("CLIENT_CERTIFICATE")),
        ship=_ship(ship),
        linger_s=variable("CRUCIBLE_SHIP_LINGER", seconds_or_off, 600.0),
        exit_wait_s=variable("CRUCIBLE_EXIT_WAIT", seconds_or_off, 2.0),
        sync=variable("CRUCIBLE_SYNC", sync, 1.0),
        progress_s=variable("CRUCIBLE_PROGRESS", seconds_or_off, 600.0),
        limit_bytes=variable("CRUCIBLE_JOURNAL_LIMIT", amount, 2 << 30),
        trace_budget=_trace_budget(),
        text_limit=variable("CRUCIBLE_TEXT_LIMIT", amount_or_off, TEXT_LIMIT),
        queue_size=queue_size,
        batch_size=min(queue_size, variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", positive, 512)),
        schedule_delay_ms=variable("OTEL_BSP_SCHEDULE_DELAY", positive, 5_000),
        console=variable("CRUCIBLE_CONSOLE", switch, default=False) if console is None else bool(console),
        event_signal=events_become,
        logs=None if events_become == "spans" else _target(endpoint, protocol, "LOGS", by_default="otlp"),
        metrics=_target(endpoint, protocol, "METRICS", by_default="none"),
        prices=_prices(prices),
        export_ranks=variable("CRUCIBLE_EXPORT_RANKS", one_of(CHOICES), ALL_RANKS),
        rank=_rank(rank),
        says_who=(service_name, resource_attributes) != (None, None),
        says_where=endpoint is not None,
    )


def _rank(given: Any) -> ProcessRank | Literal[False] | None:
    if given is None or given is False or isinstance(given, ProcessRank):
        return given
    raise ConfigurationError(
        f"rank={given!r} does not say which process this is; give crucible.ProcessRank(3, world_size=8), or False."
    )


def _trace_budget() -> Budget:
    size = variable("CRUCIBLE_TRACE_BYTES", amount_or_off, DEFAULT_BUDGET.size)
    spans = variable("CRUCIBLE_TRACE_SPANS", amount_or_off, DEFAULT_BUDGET.spans)
    return Budget(size or math.inf, spans or math.inf)


def span_limits() -> SpanLimits:
    """The SDK's limits from the standard variables, those that cannot be used replaced by the SDK's defaults."""
    counts = {
        "max_span_attributes": "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "max_events": "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "max_links": "OTEL_SPAN_LINK_COUNT_LIMIT",
        "max_event_attributes": "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "max_link_attributes": "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    }
    attributes = variable("OTEL_ATTRIBUTE_COUNT_LIMIT", limit, 128)
    general = {name: attributes if "attributes" in name else 128 for name in counts}
    longest = variable("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", limit, SpanLimits.UNSET)
    limits = {name: variable(said, limit, general[name]) for name, said in counts.items()}
    limits["max_span_attribute_length"] = variable("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", limit, longest)
    return SpanLimits(max_attributes=attributes, max_attribute_length=longest, **limits)


def _resource_attributes(service_name: str | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise ConfigurationError(
            f"resource_attributes={given!r} must map names to values, such as {{'service.version': '1.2'}}."
        )
    attributes = dict(given or {})
    named = attributes.get(attr.SERVICE_NAME) if service_name is None else service_name
    return {**attributes, attr.SERVICE_NAME: _service_name(named)}


def _service_name(given: str | None) -> str:
    """A role's name, never `unknown_service`: the script's, where nobody says."""
    if given is not None:
        if not isinstance(given, str) or not given.strip():
            raise ConfigurationError(
                f"service_name={given!r} is no name; give the role this process has, such as 'trainer'."
            )
        return given
    named = os.environ.get("OTEL_SERVICE_NAME", "").strip()
    pairs = (pair.split("=", 1) for pair in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",") if "=" in pair)
    listed = {key.strip(): unquote(value.strip()) for key, value in pairs}.get(attr.SERVICE_NAME, "")
    script = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-", "-c", "-m") else ""
    return named or listed or script or "python"


def _journal(given: str | os.PathLike[str] | bool | None) -> Path | None:  # noqa: FBT001 - as configure() takes it
    if given is False:
        return None
    if given is not None and given is not True:
        return _directory(given)
    said = os.environ.get("CRUCIBLE_JOURNAL", _JOURNAL)
    if said.strip().lower() in OFF:
        return None if given is None else _directory(_JOURNAL)
    try:
        return _directory(said)
    except ConfigurationError as error:
        if said == _JOURNAL:
            raise
        warn_once(f"CRUCIBLE_JOURNAL={said}", f"The variable CRUCIBLE_JOURNAL: {error} {_JOURNAL!r} is used instead.")
        return _directory(_JOURNAL)


def _directory(given: str | os.PathLike[str]) -> Path:
    try:
        directory = Path(given if os.fspath(given).strip() else "\0")  # an empty name would be the working folder
        make_private_directory(directory)
    except (OSError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"journal={given!r} cannot be a directory of records: {getattr(error, 'strerror', None) or error}. "
            "Name a directory that can be made and written, or journal=False for none."
        ) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"journal={given!r} is not writable. Name a directory that is, or journal=False for none."
        )
    return directory


def _ship(given: str | None) -> Ship:
    said = variable("CRUCIBLE_SHIP", one_of(_SHIPS), "process") if given is None else given
    for ship in _SHIPS:
        if said == ship:
            return ship
    raise ConfigurationError(f"ship={given!r} is no way of sending; use 'process', 'thread' or 'off'.")


def _event_signal(given: str | None) -> EventSignal:
    said = variable("CRUCIBLE_EVENT_SIGNAL", one_of(_EVENT_SIGNALS), "spans") if given is None else given
    for signal in _EVENT_SIGNALS:
        if said == signal:
            return signal
    raise ConfigurationError(f"event_signal={given!r} is nothing that events become; use 'spans', 'logs' or 'both'.")


def _prices(given: "PriceTable | str | os.PathLike[str] | None") -> "PriceTable | None":
    said = os.environ.get("CRUCIBLE_PRICES", "").strip() if given is None else given
    if not said:
        return None
    from crucible_trace_otel.prices import PriceTable  # noqa: PLC0415 - loaded when needed

    if isinstance(said, PriceTable):
        return said
    try:
        return PriceTable.read(said)
    except FormatError as error:
        if given is not None:
            raise ConfigurationError(f"prices={given!r}: {error}") from error
        warn_once(f"CRUCIBLE_PRICES={said}", f"The variable CRUCIBLE_PRICES: {error} No cost is known.")
        return None


def _target(endpoint: str | None, protocol: str | None, signal: Signal, *, by_default: str) -> Target | None:
    """Where a signal is sent that is not sent from the journal; `by_default`: its exporter where nobody says."""
    exporters = variable(f"OTEL_{signal}_EXPORTER", str, by_default).lower().split(",")
    if "otlp" not in map(str.strip, exporters):
        return None
    chosen = _protocol(protocol, endpoint, signal)
    address = _endpoint(endpoint, chosen, signal)
    return None if address is None else Target(address, chosen)


def _path(setting: str) -> str | None:
    """A file that a standard variable names, from wherever the process that sends may run."""
    said = os.environ.get(otlp(setting), "").strip()
    return str(Path(said).absolute()) if said else None


def _protocol(given: str | None, endpoint: str | None, signal: Signal = "TRACES") -> Protocol:
    if given is not None:
        for protocol in _PROTOCOLS:
            if given == protocol:
                return protocol
        raise ConfigurationError(
            f"protocol={given!r} is none that OTLP is sent by here; use 'http/protobuf' or 'grpc'."
        )
    said: Protocol | None = variable(otlp("PROTOCOL", signal), one_of(_PROTOCOLS), None)
    if said is not None:
        return said
    address = endpoint if isinstance(endpoint, str) else os.environ.get(otlp("ENDPOINT", signal), "")
    return "grpc" if address.rstrip("/").endswith(":4317") else "http/protobuf"


def _endpoint(given: str | None, protocol: Protocol, signal: Signal = "TRACES") -> str | None:
    if given is not None:
        problem = _problem_of_endpoint(given, protocol)
        if problem:
            raise ConfigurationError(f"endpoint={given!r} {problem}; give something like 'http://localhost:4318'.")
        return _below(given, protocol, signal)
    if variable(f"OTEL_{signal}_EXPORTER", str, "otlp").strip().lower() == "none":
        return None
    name = otlp("ENDPOINT", signal)
    said = os.environ.get(name, "").strip()
    if not said:
        return None
    problem = _problem_of_endpoint(said, protocol)
    if problem:
        warn_once(
            f"{name}={said}", f"{name}={said!r} {problem}: nothing is sent. Give something like http://localhost:4318."
        )
        return None
    return said if signal in name else _below(said, protocol, signal)


def _problem_of_endpoint(address: Any, protocol: Protocol) -> str:
    if not isinstance(address, str):
        return "is no text"
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"is no address ({error})"
    if parts.scheme not in ("http", "https") and (parts.scheme or protocol == "http/protobuf"):
        return f"does not begin with http:// or https://, which {protocol} needs"
    return "" if host and not any(sign.isspace() for sign in address) else "names no host"


def _below(address: str, protocol: Protocol, signal: Signal) -> str:
    """The address of a signal below a base address, as the OTLP specification puts it together."""
    if protocol == "grpc" or (signal == "TRACES" and address.rstrip("/").endswith(_TRACES_PATH)):
        return address
    return f"{address.rstrip('/').removesuffix(_TRACES_PATH)}/v1/{signal.lower()}"


def _headers(given: Mapping[str, str] | None, protocol: Protocol) -> dict[str, str] | None:
    """Headers given as an argument; those of the environment are read by the exporter."""
    if given is None:
        return None
    if not isinstance(given, Mapping) or not all(isinstance(part, str) for pair in given.items() for part in pair):
        raise ConfigurationError(
            f"headers={type(given).__name__} must map text to text, such as {{'x-api-key': '...'}}."
        )
    for name, value in given.items():
        if not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise ConfigurationError(
                f"headers: {name!r} or its value has signs that HTTP does not carry; use plain ASCII."
            )
    return {name.lower() if protocol == "grpc" else name: value for name, value in given.items()}
