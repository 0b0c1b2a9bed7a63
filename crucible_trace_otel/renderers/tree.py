"""A trace as a text tree: one line an operation, its causes and its steps below it."""

from typing import Final

from crucible_trace_otel.renderers.outline import draw_guides, outline
from crucible_trace_otel.trace.spans import Trace

__all__ = ["in_ascii", "render_tree"]

_ASCII: Final = str.maketrans(
    {"│": "|", "├": "|", "└": "`", "─": "-", "↳": "->", "→": "->", "…": "...", "•": "*", "✗": "x"}
)


def render_tree(trace: Trace, *, show_all: bool = False, ascii_only: bool = False) -> str:
    """`trace` as a text tree without colours.

    Args:
        trace: A stored trace.
        show_all: Show every one of many equal siblings instead of folding those in the middle.
        ascii_only: Draw with ASCII; what a recording has beyond it appears as escape codes.
    """
    lines = outline(trace, show_all=show_all)
    text = "".join(
        f"{guide}{'  '.join(word for _, word in line.words)}\n"
        for guide, line in zip(draw_guides(lines), lines, strict=True)
    )
    return in_ascii(text) if ascii_only else text


def in_ascii(text: str) -> str:
    """`text` with ASCII branches and marks; other characters as escape codes."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")
