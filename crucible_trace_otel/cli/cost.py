"""`crucible-trace cost`: what the calls of language models in a run took, by model, operation and decision."""

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crucible_trace_otel.store import JournalStore
    from crucible_trace_otel.tokens import UsageSum
    from crucible_trace_otel.trace.spans import Trace, TraceSpan
    from crucible_trace_otel.trace.usage import Call, Usage

__all__ = ["command"]

_HEADER: Final = ("", "CALLS", "INPUT", "CACHED", "OUTPUT", "REASONING", "COST", "UNKNOWN")
_LONGEST_NAME = 60


@click.command("cost")
@reading.run
@click.option("--all", "every", is_flag=True, help="Every run of the journal together, instead of RUN.")
@click.option("--experiment", metavar="ID", help="Every run of one experiment together, by its id or name.")
@click.option(
    "--prices",
    "table",
    metavar="FILE",
    envvar="CRUCIBLE_PRICES",
    show_envvar=True,
    help="A price table, for calls whose cost was not recorded.",
)
@reading.journals
@reading.as_json
@reading.reading
def command(
    store: "JournalStore", *, run: str, every: bool, experiment: str | None, table: str | None, as_json: bool
) -> None:
    """Add up tokens and cost of the language models that RUN called.

    In all, by model, by operation and by decision. Each call counts once, those of other instrumentations too. Costs
    are exact; a call whose cost is not known is counted as UNKNOWN, and currencies are not added up. The sum of an
    operation holds what lies inside it.
    """
    from crucible_trace_otel.prices import PriceTable  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.trace.usage import usage  # noqa: PLC0415 - loaded when needed

    if every and experiment is not None:
        raise click.UsageError("Take one of --all and --experiment.")
    prices = None if table is None else PriceTable.read(table)
    traces = _traces(store, run, experiment, every=every)
    used = usage(traces, prices=prices)
    if as_json:
        reading.say(json.dumps(_document(used), indent=2) + "\n")
    elif used.calls:
        from crucible_trace_otel.cli.aligned import aligned  # noqa: PLC0415 - loaded when needed

        reading.say("".join(f"{line}\n" for line in aligned([_HEADER, *_rows(used)])))
    else:
        where = repr(traces[0].name) if len(traces) == 1 else store.where
        click.echo(f"No call of a language model is recorded in {where}.", err=True)
    reading.say_gaps(store)
    if not used.calls:
        sys.exit(1)


def _traces(store: "JournalStore", run: str, experiment: str | None, *, every: bool) -> "list[Trace]":
    from crucible_trace_otel.errors import NotFoundError  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.semconv import attributes as attr  # noqa: PLC0415 - loaded when needed

    if every:
        return list(store.traces())
    if experiment is None:
        return [store.get(run)]
    keys = (attr.CRUCIBLE_EXPERIMENT_ID, attr.CRUCIBLE_EXPERIMENT_NAME)
    found = [
        trace
        for trace in store.traces()
        if any(span.attributes.get(key) == experiment for span in trace.spans for key in keys)
    ]
    if not found:
        raise NotFoundError(f"No trace in {store.path} belongs to an experiment {experiment!r}.")
    return found


def _operations(used: "Usage") -> "list[tuple[TraceSpan, UsageSum]]":
    """Operations of ours with calls inside them, in order of their start; a call itself is none."""
    from crucible_trace_otel.trace.spans import DECISIONS, in_order, key_of  # noqa: PLC0415 - loaded when needed

    calls = {key_of(call.span) for call in used.calls}
    names = {span.operation for span in used.spans.values() if span.is_ours} - DECISIONS
    found = {key_of(span): (span, spent) for name in sorted(names) for span, spent in used.inside(name)}
    in_time = in_order(span for key, (span, _) in found.items() if key not in calls)
    return [found[key_of(span)] for span in in_time]


def _rows(used: "Usage") -> "Iterator[tuple[str, ...]]":
    from crucible_trace_otel.renderers.words import plain, tell_span  # noqa: PLC0415 - loaded when needed

    yield _row("total", used.total)
    for (provider, model), spent in used.by_model().items():
        yield _row(f"model {plain('/'.join(filter(None, (provider, model)))) or '(not told)'}", spent)
    for span, spent in (*_operations(used), *used.by_decision()):
        yield _row(plain(tell_span(span).title, _LONGEST_NAME), spent)


def _row(name: str, spent: "UsageSum") -> tuple[str, ...]:
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    counts = (spent.calls, spent.input, spent.cached, spent.output, spent.reasoning)
    unknown = f"{spent.unpriced:,}" if spent.unpriced else ""
    return (name, *(f"{count:,}" for count in counts), plain(", ".join(spent.amounts)), unknown)


def _document(used: "Usage") -> dict[str, Any]:
    return {
        "total": _sum(used.total),
        "models": [
            {"provider": provider, "model": model, **_sum(spent)}
            for (provider, model), spent in used.by_model().items()
        ],
        "operations": [{**_span(span), **_sum(spent)} for span, spent in _operations(used)],
        "decisions": [{**_span(span), **_sum(spent)} for span, spent in used.by_decision()],
        "calls": [_call(call) for call in used.calls],
    }


def _span(span: "TraceSpan") -> dict[str, str]:
    return {"operation": span.operation, "about": span.about, "trace_id": span.trace_id, "span_id": span.span_id}


def _sum(spent: "UsageSum") -> dict[str, Any]:
    return {
        "calls": spent.calls,
        "input_tokens": spent.input,
        "output_tokens": spent.output,
        "cached_tokens": spent.cached,
        "cache_write_tokens": spent.cache_write,
        "reasoning_tokens": spent.reasoning,
        "uncounted_calls": spent.uncounted,
        "unpriced_calls": spent.unpriced,
        "costs": {amount.partition(" ")[2]: amount.partition(" ")[0] for amount in spent.amounts},
    }


def _call(call: "Call") -> dict[str, Any]:
    return {
        **_span(call.span),
        "provider": call.provider,
        "model": call.model,
        "latency_s": call.latency_s,
        "time_to_first_token_s": call.time_to_first_token_s,
        **_sum(call.sum),
    }
