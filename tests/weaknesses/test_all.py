"""Each known weakness of CrucibleTrace and of what is around it has a test by name."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
WEAKNESSES = {
    f"{group}{number}" for group, last in {"t": 6, "f": 6, "i": 2, "c": 6}.items() for number in range(1, last + 1)
}
"""T: stages, training, telemetry. F: the framework's runner. I: its plans. C: its experiments and their analysis."""


def test_each_weakness_has_a_test() -> None:
    paths = [*TESTS.glob("weaknesses/test_*.py"), *TESTS.glob("backends/test_*.py")]
    names = [
        node.name
        for path in paths
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    named = {name.split("_")[1] for name in names if name.startswith("test_")}
    assert sorted(WEAKNESSES - named) == []
