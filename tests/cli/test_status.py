import json
import os
import subprocess
import sys

import pytest

from crucible_trace_otel.ship.lease import Lease
from crucible_trace_otel.ship.telling import state_of
from tests.cli.running import ROOT, crucible_trace
from tests.faults.collector import Misbehaving
from tests.journal.acked import REFUSED, SENT, answer, operation, span, write_segment
from tests.ship_process.recording import wait_for


@pytest.fixture
def journal(tmp_path):
    """A run of twelve spans, half of which were sent and one refused, and three spans of another."""
    root = operation(1, 11, "training_run", root=True, crucible_about="digits", crucible_run_id="r1")
    path = write_segment(tmp_path, "writer", 0, [*(span(1, number) for number in range(11)), root])
    write_segment(tmp_path, "writer", 1, [span(2, number) for number in range(3)])
    answer(path, SENT, 0, 6)
    answer(path, REFUSED, 6, 7, said="no \x1b[31mroom\nfor it")
    return tmp_path


def test_a_table_of_runs_and_their_sum(journal):
    result = crucible_trace("status", "--journal", journal)
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["NAME", "RUN", "RECORDED", "STORED", "SENT", "HELD", "REFUSED", "LOST"]
    assert lines[1] == ["digits", "r1", "12", "0", "6", "5", "1", "0"]
    assert lines[2] == ["trace", "00000000", "3", "0", "0", "3", "0", "0"]
    assert lines[3] == ["total", "15", "0", "6", "8", "1", "0"]
    assert result.exit_code == 0
    assert result.stderr == ""


def test_it_says_who_sends_since_when_something_waits_and_what_the_last_refusal_said(journal):
    said = crucible_trace("status", "--journal", journal).stdout
    assert "No shipper of this machine runs.\n8 wait to be sent since 1970-01-01" in said
    assert "`crucible-trace ship` sends them" in said
    assert "\x1b" not in said
    assert "room for it" in said
    lease = Lease(journal)
    assert lease.take()
    try:
        said = crucible_trace("status", "--journal", journal).stdout
    finally:
        lease.release()
    assert f"Process {os.getpid()} of this machine sends.\n" in said
    assert "`crucible-trace ship`" not in said


def test_it_says_where_is_sent_to_and_why_that_does_not_go_on(journal):
    with Misbehaving("403") as collector:
        command = [sys.executable, "-m", "crucible_trace_otel.cli", "ship", "--follow", "--journal", str(journal)]
        with subprocess.Popen([*command, "--endpoint", collector.http_endpoint], cwd=ROOT) as process:
            try:
                assert wait_for(lambda: state_of(journal))
                said = crucible_trace("status", "--journal", journal).stdout
                shipper = json.loads(crucible_trace("status", "--journal", journal, "--json").stdout)["shipper"]
            finally:
                process.kill()
    address = f"{collector.http_endpoint}/v1/traces"
    assert f"Process {process.pid} of this machine sends to {address}.\nIt is paused since " in said
    assert "HTTP 403" in said
    assert (shipper["pid"], shipper["to"], shipper["state"]) == (process.pid, address, "paused")
    assert json.loads(crucible_trace("status", "--journal", journal, "--json").stdout)["shipper"] is None


def test_where_nothing_is_sent_from_all_is_stored(tmp_path):
    write_segment(tmp_path, "writer", 0, [span(1, 0, root=True)])
    result = crucible_trace("status", "--journal", tmp_path)
    assert result.stdout.splitlines()[1].split() == ["run", "1", "1", "0", "0", "0", "0"]
    assert result.stdout.endswith("Nothing is sent from this directory.\n")


def test_the_attempts_of_one_run_are_one_line_and_in_json_a_trace_each(tmp_path):
    for trace, name in ((1, "first"), (2, "r1"), (3, "r2")):
        spans = [operation(trace, 1, "training_run", root=True, crucible_about="digits", crucible_run_id=name)]
        write_segment(tmp_path, f"writer{trace}", 0, [span(trace, 0), *spans])
    write_segment(tmp_path, "writer4", 0, [operation(4, 1, "run_part", root=True, crucible_run_id="r1")])
    result = crucible_trace("status", "--journal", tmp_path)
    assert [line.split()[:3] for line in result.stdout.splitlines()[1:-2]] == [
        ["digits", "first", "2"],
        ["digits", "r1", "3"],
        ["digits", "r2", "2"],
    ]
    said = json.loads(crucible_trace("status", "--journal", tmp_path, "--json").stdout)
    assert [(run["run_id"], run["recorded"]) for run in said["runs"]] == [
        ("first", 2),
        ("r1", 2),
        ("r2", 2),
        ("r1", 1),
    ]


def test_json_for_programs(journal):
    said = json.loads(crucible_trace("status", "--journal", journal, "--json").stdout)
    assert [run["name"] for run in said["runs"]] == ["digits", ""]
    assert said["runs"][0]["last_refusal"] == said["last_refusal"]
    assert said["runs"][1]["last_refusal"] is None
    assert said["runs"][1]["waiting_since_ns"] == 2_000
    assert said["total"] == {"recorded": 15, "stored": 0, "sent": 6, "held": 8, "refused": 1, "lost": 0, "withheld": 0}
    for counts in (*said["runs"], said["total"]):
        assert counts["recorded"] == sum(counts[key] for key in ("stored", "sent", "held", "refused", "lost"))
    assert (said["shipper_runs"], said["has_destination"], said["damaged"], said["torn"]) == (False, True, 0, 0)


def test_names_of_runs_are_harmless(tmp_path):
    write_segment(tmp_path, "writer", 0, [operation(1, 0, "pipeline", root=True, crucible_about="a\x1b]0;b\a\nc" * 99)])
    said = crucible_trace("status", "--journal", tmp_path).stdout
    assert "\x1b" not in said
    assert "\a" not in said
    assert len(said.splitlines()) == 4


def test_damage_is_told_apart(journal):
    (first, second) = sorted(journal.glob("*.segment"))
    second.write_bytes(second.read_bytes()[:-1])
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    (journal / "zzz-0000.segment").symlink_to(first)
    result = crucible_trace("status", "--journal", journal)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "1 damaged record could not be read; they are in no count.",
        "1 file stopped within a record: normal where a process was killed, or is writing right now.",
        f"Not read: zzz-0000.segment: {os.strerror(40)}.",
        "1 dead process may have left operations open: `crucible-trace recover` closes them; so does whatever sends.",
    ]
    assert json.loads(crucible_trace("status", "--journal", journal, "--json").stdout)["damaged"] == 1


def test_exit_codes(tmp_path):
    assert crucible_trace("status", "--journal", tmp_path).exit_code == 1
    result = crucible_trace("status", "--journal", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "No journal at" in result.stderr
    assert "Traceback" not in result.output
