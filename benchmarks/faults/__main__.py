"""`make faults`: what is lost in each of some forty misfortunes, by the plain OpenTelemetry SDK and by ours.

Prints a Markdown table, puts it into docs/reliability.md and writes benchmarks/faults/results.json. With names of cases
(`python -m benchmarks.faults a1 d2`) it runs those and prints only.
Ends with 1 when ours has lost a span, or when what the journal says of its spans does not add up.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version

from benchmarks.faults.cases import CASES, Case
from benchmarks.faults.measuring import Outcome, measure
from benchmarks.faults.page import cell, fill, table
from benchmarks.faults.receiver import ROOT

PAGE = ROOT / "docs" / "reliability.md"
RESULTS = ROOT / "benchmarks" / "faults" / "results.json"


def run(case: Case) -> dict[str, Outcome]:
    """The case with the plain SDK and with ours; complaints of the program itself are not counted against them."""
    outcomes = {variant: measure(case, variant) for variant in ("sdk", "ours")}
    if case.program == "leave":
        bare = measure(case, "none")
        for variant, outcome in outcomes.items():
            outcome.stderr = [line for line in outcome.stderr if line not in bare.stderr]
            if outcome.exit_code != bare.exit_code:
                print(f"{case.name}: {variant} ends with {outcome.exit_code}, not {bare.exit_code}", file=sys.stderr)
    for variant, outcome in outcomes.items():
        print(f"{case.name:5} {variant:5} {cell(outcome, is_ours=variant == 'ours')}", file=sys.stderr, flush=True)
    return outcomes


def complaints(case: Case, ours: Outcome) -> list[str]:
    """What must not be so."""
    found = []
    if ours.lost or (ours.events is not None and ours.events != ours.events_recorded):
        found.append(
            f"{case.name}: ours lost {ours.lost} spans, {(ours.events_recorded or 0) - (ours.events or 0)} steps"
        )
    account = dict(ours.accounts)
    if account and account.pop("recorded") != sum(account.values()):
        found.append(f"{case.name}: the account does not add up: {ours.accounts}")
    return found


def main(names: Sequence[str]) -> int:
    """Measure, print, store."""
    for name in list(os.environ):
        if name.startswith(("OTEL_", "CRUCIBLE_")):
            del os.environ[name]
    began = time.monotonic()
    rows = [(case, run(case)) for case in CASES if not names or case.name in names]
    conditions = {
        "python": platform.python_version(),
        "opentelemetry_sdk": version("opentelemetry-sdk"),
        "cores": os.cpu_count(),
        "seconds": round(time.monotonic() - began),
    }
    text = table(rows) + "\n\n" + ", ".join(f"{name} {value}" for name, value in conditions.items()) + "."
    print(text)
    if not names:
        fill(PAGE, text)
        results = {case.name: {variant: asdict(each) for variant, each in outcomes.items()} for case, outcomes in rows}
        RESULTS.write_text(json.dumps({"conditions": conditions, "results": results}, indent=1))
    wrong = [sentence for case, outcomes in rows for sentence in complaints(case, outcomes["ours"])]
    print("\n".join(wrong), file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
