"""The fault table in its quick form: the cases that take a second or two, and the page that has all of them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.faults.cases import CASES
from benchmarks.faults.ledger import read_ledgers
from benchmarks.faults.measuring import Outcome, measure
from benchmarks.faults.page import cell, fill
from tests.journal.process import start

ROOT = Path(__file__).parents[2]
BY_NAME = {case.name: case for case in CASES}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")


def ours(name: str) -> Outcome:
    """The case with ours: nothing lost, and the journal's account adds up."""
    outcome = measure(BY_NAME[name], "ours")
    account = dict(outcome.accounts)
    assert outcome.lost == 0
    assert outcome.stored == outcome.recorded
    assert account.pop("recorded") == sum(account.values())
    return outcome


@pytest.mark.parametrize("name", ["f4", "p1"])
def test_p36_the_plain_sdk_loses_what_ours_delivers(name: str) -> None:
    outcome = ours(name)
    assert outcome.arrived == outcome.recorded
    assert outcome.stderr == []
    assert measure(BY_NAME[name], "sdk").lost >= 21


def test_p03_without_a_collector_the_exit_is_quick_and_all_is_held() -> None:
    outcome = ours("a1")
    assert (outcome.recorded, outcome.held) == (1_000, 1_000)
    assert outcome.exit_s is not None
    assert outcome.exit_s < 2


@pytest.mark.parametrize(("collector", "answer"), [((), False), (("tarpit",), False), (("ok",), True)])
def test_p04_a_flush_is_in_time_and_true_only_when_all_is_acknowledged(
    collector: tuple[str, ...], answer: bool
) -> None:
    case = replace(BY_NAME["a4"], collector=collector, arguments={"count": 199})
    outcome = measure(case, "ours")
    assert outcome.flush is not None
    assert (outcome.lost, outcome.flush[1]) == (0, answer)
    assert outcome.flush[0] < 1.1 + 0.4  # on a machine that does other things


def test_p32_every_one_of_ten_thousand_steps_arrives() -> None:
    outcome = ours("s1")
    assert outcome.events == outcome.events_recorded == 10_000


def test_p11_an_exit_without_a_word_loses_no_ended_span_and_the_root_fails() -> None:
    outcome = ours("e3")
    assert (outcome.recorded, outcome.arrived) == (200, 200)
    assert outcome.roots == ["root ERROR", "operation ERROR"]


def test_the_ledger_of_a_killed_program_says_what_had_returned(tmp_path: Path) -> None:
    code = """
    import sys, time
    from pathlib import Path
    from opentelemetry.sdk.trace import TracerProvider
    from benchmarks.faults.ledger import Ledger
    ledger = Ledger(Path("."))
    tracer = TracerProvider().get_tracer("t")
    ledger.root(tracer.start_span("root"))
    for _ in range(3):
        span = tracer.start_span("child")
        span.end()
        ledger.ended(span)
    ledger.mark("ready")
    time.sleep(60)
    """
    process = start(code, tmp_path)
    try:
        until = time.monotonic() + 30
        while "ready" not in read_ledgers(tmp_path).marks and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    recorded = read_ledgers(tmp_path)
    assert (len(recorded.ended), len(set(recorded.ended)), len(recorded.roots)) == (3, 3, 1)


def test_a_cell_says_what_counts() -> None:
    lost = Outcome(recorded=1_000, arrived=0, exit_s=14.02, stderr=["Queue full", "Queue full"])
    assert cell(lost, is_ours=False) == "**1,000**/1,000; exit +14.0 s; 2 lines"
    held = Outcome(recorded=1_000, arrived=0, held=1_000, exit_s=0.21, stderr=["waiting"])
    assert cell(held, is_ours=True) == "0/1,000, 1,000 held on disk; exit +0.21 s; 1 line"
    killed = Outcome(recorded=701, arrived=701, after_s=0.12, roots=["root ERROR"])
    assert cell(killed, is_ours=True) == "0/701; root ERROR; all there after 0.1 s"


def test_the_table_goes_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- make faults: begin -->\nold\n<!-- make faults: end -->\nafter\n")
    for _ in range(2):
        fill(page, "| new |")
        assert "old" not in page.read_text()
        assert page.read_text().startswith("before\n")
        assert page.read_text().endswith("\n| new |\n\n<!-- make faults: end -->\nafter\n")
    (tmp_path / "other.md").write_text("no marks")
    with pytest.raises(ValueError, match="has no marks"):
        fill(tmp_path / "other.md", "| new |")


def test_the_page_has_every_case() -> None:
    rows = re.findall(r"^\| (\w+) ", (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [row for row in rows if row in BY_NAME] == list(BY_NAME)


def test_the_command_runs_what_it_is_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.faults", "p2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| p2 .* \| \*\*21\*\*/21.* \| 0/21", done.stdout, re.MULTILINE), done.stdout
