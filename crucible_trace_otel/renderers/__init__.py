"""Showing a stored trace: `render(trace, "tree")`."""

import json
from collections.abc import Callable
from typing import Final

from crucible_trace_otel.errors import CrucibleError, FormatError
from crucible_trace_otel.renderers.mermaid import render_flowchart
from crucible_trace_otel.renderers.nested import render_json
from crucible_trace_otel.renderers.tree import render_tree
from crucible_trace_otel.renderers.words import plain
from crucible_trace_otel.trace.otlp import to_otlp_json
from crucible_trace_otel.trace.spans import Trace

__all__ = ["FORMATS", "UnknownFormatError", "render"]


class UnknownFormatError(CrucibleError, ValueError):
    """A format `render()` does not have."""

    def __init__(self, asked: object) -> None:
        super().__init__(f"There is no format {asked!r}; there are {', '.join(FORMATS)}.")
        self.asked = asked


def render(trace: Trace, format: str, *, all: bool = False, ascii: bool = False) -> str:  # noqa: A002
    """`trace` as text: complete lines, without colours or other terminal codes.

    Whatever a recording holds, text of its user included, cannot break the format. Recordings are never a reason to
    raise: a trace that is still running, has lost spans or contradicts itself is shown as far as it goes.

    Args:
        trace: A stored trace, from `open_store()`.
        format: `tree`, a text tree for people; `json`, the nested spans without their packed steps; `otlp-json`, an
            OTLP export request that other tools read; `mermaid-flowchart`, or `mermaid` for short, a diagram.
        all: Show every one of many equal siblings in `tree` instead of folding those in the middle.
        ascii: Draw `tree` with ASCII, and escape in the other formats what lies beyond it.

    Raises:
        UnknownFormatError: `format` is none of these; a ValueError and a CrucibleError.
        FormatError: `trace` is no Trace; a ValueError and a CrucibleError.
    """
    draw = FORMATS.get(format) if isinstance(format, str) else None
    if draw is None:
        raise UnknownFormatError(format)
    if not isinstance(trace, Trace):
        raise FormatError(f"{plain(repr(trace))} is no Trace; open_store().latest() gives one.")
    return draw(trace, all, ascii)


def _otlp_json(trace: Trace, _: bool, ascii_only: bool) -> str:  # noqa: FBT001 - called through the table only
    return json.dumps(to_otlp_json(trace), ensure_ascii=ascii_only, allow_nan=False) + "\n"


FORMATS: Final[dict[str, Callable[[Trace, bool, bool], str]]] = {
    "tree": lambda trace, show_all, ascii_only: render_tree(trace, show_all=show_all, ascii_only=ascii_only),
    "json": lambda trace, _, ascii_only: render_json(trace, ascii_only=ascii_only),
    "otlp-json": _otlp_json,
    "mermaid": lambda trace, _, ascii_only: render_flowchart(trace, ascii_only=ascii_only),
    "mermaid-flowchart": lambda trace, _, ascii_only: render_flowchart(trace, ascii_only=ascii_only),
}
"""Format name to what draws it: from a trace, whether to show all, and whether only ASCII may be used."""
