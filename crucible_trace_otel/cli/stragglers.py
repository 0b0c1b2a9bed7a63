"""`crucible-trace stragglers`: which rank of a run was slow, when, and what it cost the others."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore
    from crucible_trace_otel.trace.clocks import ClockOffset
    from crucible_trace_otel.trace.stragglers import RankTotals, StragglerReport

__all__ = ["command"]


@click.command("stragglers")
@reading.run
@reading.journals
@reading.as_json
@reading.reading
def command(store: "JournalStore", *, run: str, as_json: bool) -> None:
    """Say which rank of a distributed RUN was slow.

    Step by step, over time and by node, and how the ranks' clocks differ. Where each rank has a journal of its own,
    give them all: --journal A --journal B. With --json every step is told. The exit code is 1 where there is nothing to
    compare.
    """
    from crucible_trace_otel.renderers.nested import json_value  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.trace.stragglers import stragglers  # noqa: PLC0415 - loaded when needed

    trace = store.get(run)
    report = stragglers(trace)
    if as_json:
        reading.say(json.dumps(json_value(_document(report)), indent=2) + "\n")
    elif report.is_comparison:
        reading.say("".join(f"{line}\n" for line in _lines(report)))
    reading.say_gaps(store)
    if not report.is_comparison:
        for sentence in report.unknown:
            click.echo(sentence, err=True)
        click.echo(f"{plain(trace.name)} has no steps, barriers or collectives of several ranks to compare.", err=True)
        sys.exit(1)


def _document(report: "StragglerReport") -> dict[str, Any]:
    """The same for programs."""
    straggler, node = report.straggler, report.slow_node
    return {
        **asdict(report),
        "straggler": None if straggler is None else straggler.rank,
        "slow_node": None if node is None else node.node,
    }


def _lines(report: "StragglerReport") -> Iterator[str]:
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    attempt = f", attempt {report.attempt}" if report.attempt else ""
    run = f"run {plain(report.run_id)}{attempt}: " if report.run_id else ""
    size = "" if report.world_size is None else f" of {report.world_size}"
    compared = f"{len(report.steps):,} steps, {report.meetings:,} barriers and collectives"
    yield f"{run}{len(report.ranks)}{size} ranks compared in {compared}"
    yield from _verdict(report)
    for title, rows in _tables(report):
        yield from ("", title, *_table(rows))
    if report.unknown:
        yield ""
        yield "What cannot be known"
        yield from (f"  {plain(sentence)}" for sentence in report.unknown)


def _verdict(report: "StragglerReport") -> Iterator[str]:
    from crucible_trace_otel.renderers.words import duration, plain  # noqa: PLC0415 - loaded when needed

    slowest, node = report.straggler, report.slow_node
    if slowest is not None:
        yield _named(slowest, report)
    elif node is not None:
        yield f"no rank alone makes the steps a tenth longer, but node {plain(node.node)} does:"
        yield (
            f"its ranks were slowest in {node.slowest_steps:,} of {len(report.steps):,} steps; "
            f"the others waited {duration(node.lost_s)} for them"
        )
    elif report.steps:
        yield "no rank stands out: without any one of them the steps would take nearly as long"
    last = max(report.ranks, key=lambda rank: rank.lost_s)
    if report.meetings and last.last_arrivals and (slowest is None or last.rank != slowest.rank):
        yield (
            f"rank {last.rank} was last at {last.last_arrivals:,} of {report.meetings:,} barriers and collectives; "
            f"the others waited {duration(last.lost_s)} for it"
        )


def _named(slowest: "RankTotals", report: "StragglerReport") -> str:
    from crucible_trace_otel.renderers.words import duration, plain  # noqa: PLC0415 - loaded when needed

    node = f" on node {plain(slowest.node, 40)}" if slowest.node else ""
    waited = "waited" if report.meetings else "would have waited"
    return (
        f"rank {slowest.rank}{node} was slowest in {slowest.slowest_steps:,} of {len(report.steps):,} steps, by "
        f"{duration(slowest.behind_s or 0.0)} at the median; the others {waited} {duration(slowest.lost_s)} for it"
    )


Table = Sequence[Sequence[str]]


def _tables(report: "StragglerReport") -> Iterator[tuple[str, Table]]:
    """Each table with its title; those that have something to say."""
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    yield (
        "By rank",
        [
            ("RANK", "NODE", "STEPS", "OWN TIME", "SLOWEST IN", "BEHIND BY", "SLOWDOWN", "WAITED", "OTHERS WAITED"),
            *(
                (
                    *(str(one.rank), plain(one.node, 40), f"{one.steps:,}", _seconds(one.mean_step_s)),
                    *(f"{one.slowest_steps:,}", _seconds(one.behind_s), _times(one.slowdown)),
                    *(_seconds(one.waited_s if report.meetings else None), _seconds(one.lost_s)),
                )
                for one in report.ranks
            ),
        ],
    )
    if len(report.nodes) > 1:
        yield (
            "By node",
            [
                ("NODE", "RANKS", "OWN TIME", "SLOWEST IN", "SLOWDOWN", "OTHERS WAITED"),
                *(
                    (
                        *(plain(one.node, 40) or "?", ", ".join(map(str, one.ranks)), _seconds(one.mean_step_s)),
                        *(f"{one.slowest_steps:,}", _times(one.slowdown), _seconds(one.lost_s)),
                    )
                    for one in report.nodes
                ),
            ],
        )
    if report.stretches:
        yield (
            "Over time",
            [
                ("STEPS", "SLOWEST", "IN", "BEHIND BY"),
                *(
                    (
                        *(f"{one.first_step} to {one.last_step}", f"rank {one.rank}"),
                        *(f"{one.slowest_steps:,} of {one.steps:,}", _seconds(one.behind_s)),
                    )
                    for one in report.stretches
                ),
            ],
        )
    yield (
        f"Clocks, beside that of rank {report.clocks[0].reference}",
        [("RANK", "AHEAD BY", "GROWS BY", "SPREAD", "WRONG BY AT MOST", "FROM"), *map(_clock, report.clocks[1:])],
    )


def _clock(clock: "ClockOffset") -> tuple[str, ...]:
    source = f"{clock.barriers:,} barriers" if clock.barriers else "told" if clock.offset_s is not None else "unknown"
    return (
        *(str(clock.rank), _seconds(clock.offset_s), f"{clock.drift * 1e6:,.1f} us/s" if clock.drift else ""),
        *(_seconds(clock.spread_s), _seconds(clock.bound_s), source),
    )


def _table(rows: Table) -> list[str]:
    from crucible_trace_otel.cli.aligned import aligned  # noqa: PLC0415 - loaded when needed

    head, *body = rows
    empty = [not any(cells) for cells in zip(*body, strict=True)]
    kept = [[cell for cell, is_empty in zip(row, empty, strict=True) if not is_empty] for row in (head, *body)]
    return [f"  {line}" for line in aligned(kept)]


def _seconds(value: float | None) -> str:
    from crucible_trace_otel.renderers.words import duration  # noqa: PLC0415 - loaded when needed

    return "" if value is None else duration(value)


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"
