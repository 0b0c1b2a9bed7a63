"""What everything recorded in this process says: its rank, and the run it was started from."""

import os
from collections.abc import Mapping
from typing import Any, Literal

from crucible_trace_otel.record._context import remote_baggage
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record.processes._launchers import ProcessRank, RankFound, find_rank
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["HANDED_DOWN", "is_contradicted", "process_facts", "process_rank", "use_process_rank"]

HANDED_DOWN = (attr.CRUCIBLE_RUN_ID, attr.CRUCIBLE_EXPERIMENT_ID)
"""What a process that is started inside an operation is told of it, as baggage."""
_LONGEST = 256
_NOTHING: dict[str, Any] = {}


class _Process:
    """What is known of this process; looked up in its environment when it is first asked for."""

    given: ProcessRank | Literal[False] | None = None
    found: RankFound | None = None
    facts: Mapping[str, Any] | None = None


_this = _Process()


def use_process_rank(given: ProcessRank | Literal[False] | None) -> None:
    """From now on this process has that rank; none with False; the one its environment names with None."""
    _this.given = given
    _forget()


def process_rank(*, anew: bool = False) -> ProcessRank | None:
    """The rank of this process, if it has one.

    Args:
        anew: Look at the environment once more: some programs put their rank there themselves.
    """
    if anew:
        _forget()
    if _this.given is not None:
        return _this.given or None
    return _found().rank


def is_contradicted() -> bool:
    """Whether something in the environment speaks against the rank."""
    return _this.given is None and _found().is_contradicted


def process_facts() -> Mapping[str, Any]:
    """What each operation says that lies in no other."""
    if _this.facts is None:
        _this.facts = _facts()
    return _this.facts


def _facts() -> dict[str, Any]:
    rank = process_rank()
    return {**_handed_down(), **({} if rank is None else {attr.CRUCIBLE_DISTRIBUTED_RANK: rank.rank})}


@guarded(lambda: _NOTHING)
def _handed_down() -> dict[str, Any]:
    here = remote_baggage()
    if not here:
        return {}
    from opentelemetry import baggage  # noqa: PLC0415 - only for who was handed something down

    handed = baggage.get_all(here)
    return {key: str(handed[key])[:_LONGEST] for key in HANDED_DOWN if handed.get(key)}


@guarded(RankFound)
def _found() -> RankFound:
    if _this.found is None:
        _this.found = find_rank(os.environ)
    return _this.found


def _forget() -> None:
    _this.found = _this.facts = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
