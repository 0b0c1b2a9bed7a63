"""The cases of the fault table: which program, which collector, what happens to them, how long is waited."""

import signal
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["CASES", "Case"]

Protocol = Literal["http/protobuf", "grpc"]


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    fault: str
    """As the table says it."""
    program: str
    """A method of `Programs`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    collector: tuple[str, ...] = ("ok",)
    """What the collector does, one entry a request, the last for all others; empty: nobody listens."""
    outage: tuple[float, float] | None = None
    """Seconds after the program's start at which the collector goes, and comes back."""
    kill: tuple[float, signal.Signals] | None = None
    """Seconds after the program's start (or after it said that it is ready to leave) and what it gets."""
    then_up: bool = False
    """The collector comes up after the program has ended."""
    next_start: bool = False
    """Then a second, short program runs in the same folder."""
    settle_s: float = 5.0
    """How long ours may take until all has arrived."""
    protocol: Protocol = "http/protobuf"

    @property
    def is_down(self) -> bool:
        """Whether nobody listens while the program runs."""
        return not self.collector


def _answering(name: str, fault: str, *collector: str, settle_s: float = 5.0, **more: Any) -> Case:
    """A case of 600 spans in three seconds against a collector that answers oddly."""
    program = {"arguments": {"count": 599, "rate": 200}, **more}
    return Case(name, fault, "spans", collector=collector, settle_s=settle_s, **program)


def _leave(name: str, fault: str, how: str, kill: signal.Signals | None = None) -> Case:
    after_ready = (0.2, kill) if kill else None
    return Case(name, fault, "leave", {"how": how}, kill=after_ready)


_NEVER = 1.0
"""Where the collector never takes anything there is nothing to wait for."""

CASES = (
    Case("a1", "collector down, 1,000 spans, exit", "spans", {"count": 999}, (), settle_s=_NEVER),
    Case("a1b", "the same, then the collector comes up", "spans", {"count": 999}, (), then_up=True, settle_s=30),
    Case("a2", "down, 5,000 spans", "spans", {"count": 4_999}, (), settle_s=_NEVER),
    Case("a3", "accepts, never answers, 1,000 spans", "spans", {"count": 999}, ("tarpit",), settle_s=_NEVER),
    Case("a4", "force_flush(1 s), 2,048 spans, down", "flush", {"count": 2_047}, (), settle_s=_NEVER),
    Case("a5", "force_flush(1 s), 2,048 spans, never answers", "flush", {"count": 2_047}, ("tarpit",), settle_s=_NEVER),
    Case("b", "down 10 s of 20 s, 100 spans/s", "spans", {"count": 1_999, "rate": 100}, outage=(5, 15), settle_s=30),
    Case("c1", "2 s a request, 100 spans/s for 10 s", "spans", {"count": 999, "rate": 100}, ("slow 2",), settle_s=20),
    Case("c2", "the same, 1,000 spans/s for 8 s", "spans", {"count": 7_999, "rate": 1_000}, ("slow 2",), settle_s=40),
    Case(
        "d",
        "SIGKILL at 7 s, 100 spans/s",
        "spans",
        {"count": 9_999, "rate": 100},
        kill=(7, signal.SIGKILL),
    ),
    Case(
        "d2",
        "SIGKILL at 3 s, collector down; then up, and a next start",
        "spans",
        {"count": 9_999, "rate": 100},
        (),
        kill=(3, signal.SIGKILL),
        then_up=True,
        next_start=True,
        settle_s=30,
    ),
    _leave("e1", "unhandled exception", "exception"),
    _leave("e2", "`sys.exit(3)`", "sys.exit"),
    _leave("e3", "`os._exit(3)`", "os._exit"),
    _leave("e4", "SIGTERM", "signal", signal.SIGTERM),
    _leave("e5", "Ctrl-C", "signal", signal.SIGINT),
    Case("f1", "multiprocessing fork, 4 x 50", "fork", {"kind": "fork"}),
    Case("f2", "multiprocessing spawn, 4 x 50", "fork", {"kind": "spawn"}),
    Case("f3", "daemon workers of a data loader, 4 x 50", "fork", {"kind": "loader"}),
    Case("f4", "`os.fork` and `os._exit`, 100", "fork", {"kind": "os.fork"}),
    _answering("h01", "400 always", "400", settle_s=_NEVER),
    _answering("h02", "413 always", "413", settle_s=_NEVER),
    _answering("h03", "first 429, Retry-After 5", "429 retry-after=5", "ok", settle_s=15),
    _answering("h04", "first 429, Retry-After 30", "429 retry-after=30", "ok", settle_s=45),
    _answering("h05", "first 500", "500", "ok"),
    _answering("h06", "first 503", "503", "ok", settle_s=15),
    _answering("h07", "503 always", "503", settle_s=_NEVER),
    _answering("h08", "partial success, all rejected", "partial 600", settle_s=_NEVER),
    _answering("h09", "200 with bytes that are no answer, nothing taken", "garbage", settle_s=_NEVER),
    _answering("h10", "302 to a login page", "302", settle_s=_NEVER),
    _answering("h11", "first 2 answers cut after acceptance", "cut", "cut", "ok", settle_s=15),
    _answering("h12", "connection reset always", "reset", settle_s=_NEVER),
    _answering("h13", "600 spans of 10 KB", "ok", arguments={"count": 599, "rate": 0, "size": 10_000}),
    _answering(
        "h13g",
        "the same, by gRPC, 4 MiB a message",
        "limit 4194304",
        arguments={"count": 599, "rate": 0, "size": 10_000},
        protocol="grpc",
    ),
    Case("i1", "200 threads x 250 at once", "threads", {"workers": 200, "count": 250}, settle_s=20),
    Case("i2", "1,000 asyncio tasks x 2", "tasks", {"workers": 1_000, "count": 2}),
    Case("j1", "clock back 1 h inside a span", "clock_back"),
    Case("s1", "10,000 steps on one span", "events", {"count": 10_000}),
    Case("s2", "a string of 5 MB", "big", {"size": 5_000_000}),
    Case("s2g", "the same, by gRPC, 4 MiB a message", "big", {"size": 5_000_000}, ("limit 4194304",), protocol="grpc"),
    Case("p1", "lone surrogate in the name of 1 span of 21", "poison", {"what": "name"}),
    Case("p2", "the same in an event's name", "poison", {"what": "event name"}),
    Case("p3", "the same in an exception's message", "poison", {"what": "exception"}),
    Case("p4", "an event time in float seconds", "poison", {"what": "time"}),
)
