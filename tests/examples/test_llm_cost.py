"""The example that adds up what a session with language models costs."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import crucible_trace_otel as crucible

ROOT = Path(__file__).parents[2]


def test_the_session_is_recorded_and_added_up(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / "llm_cost.py")],
        cwd=tmp_path,
        env={**os.environ, "CRUCIBLE_JOURNAL": str(journal)},
        text=True,
        capture_output=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    used = crucible.usage(crucible.open_store(journal).latest())
    assert [call.model for call in used.calls] == ["words"] * 4 + ["letters", "pairs"]
    assert all(0 < call.time_to_first_token_s <= call.latency_s for call in used.calls)
    assert used.total.unpriced == used.by_model()["example", "pairs"].unpriced == 1
    table = crucible.PriceTable.read(ROOT / "examples" / "prices-example.json")
    costs = [table.cost(call.usage, model=call.model, provider="example") for call in used.calls]
    assert used.total.costs == {"USD": sum((cost for cost in costs if cost is not None), Decimal(0))}
    assert f"total                         6 calls {used.total.input:4} in" in finished.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["j"]
