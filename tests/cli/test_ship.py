"""`ship` and `resend`, with a collector on this machine."""

import os
import signal
import subprocess
import sys
import time

import pytest

from crucible_trace_otel.journal.accounting import examine
from crucible_trace_otel.ship.claim import Claim
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.lease import Lease
from tests.backends.process import free_ports
from tests.cli.running import ROOT, crucible_trace
from tests.faults.behaviours import REFUSAL
from tests.faults.collector import Misbehaving
from tests.journal.acked import REFUSED, WITHHELD, answer, operation, span, write_segment


@pytest.fixture(autouse=True)
def _no_endpoint(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("OTEL_", "CRUCIBLE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def journal(tmp_path):
    root = operation(1, 9, "training_run", root=True, crucible_about="digits", crucible_run_id="r1")
    write_segment(tmp_path, "writer", 0, [*(span(1, number) for number in range(9)), root])
    return tmp_path


def test_all_is_sent(journal):
    with Misbehaving("ok") as collector:
        arguments = ("ship", "--journal", journal, "--endpoint", collector.http_endpoint)
        result = crucible_trace(*arguments, "--header", "x-key = 1", "--header", "b=c=d")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"Sent 10 to {collector.http_endpoint}/v1/traces; held 0, refused 0.\n"
        assert len(collector.span_ids()) == 10
        assert {"x-key": "1", "b": "c=d"}.items() <= collector.requests()[0].headers.items()
        again = crucible_trace(*arguments)
        assert (again.exit_code, again.stdout[:7]) == (0, "Sent 0 ")


def test_by_grpc_and_by_the_environment(journal, monkeypatch):
    with Misbehaving("ok") as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint("grpc"))
        result = crucible_trace("ship", "--journal", journal, "--protocol", "grpc")
        assert (result.exit_code, result.stderr) == (0, "")
        assert len(collector.span_ids()) == 10


def test_what_is_refused_is_told_with_the_collectors_words_and_sent_when_asked_for(journal, monkeypatch):
    with Misbehaving("400") as collector:
        result = crucible_trace("ship", "--journal", journal, "--endpoint", collector.http_endpoint)
        assert result.exit_code == 1
        assert "Sent 0 to" in result.stdout
        assert "held 0, refused 10." in result.stdout
        assert REFUSAL in result.stderr
        collector.behave("ok")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.http_endpoint)
        result = crucible_trace("resend", "--refused", "digits", "--journal", journal)
        assert result.exit_code == 0
        assert result.stdout.splitlines()[0] == "10 refused spans will be sent again."
        assert result.stdout.splitlines()[1].startswith("Sent 10 to")
        assert len(collector.span_ids()) == 10


def test_what_cannot_be_sent_is_held(journal):
    (port,) = free_ports(1)
    result = crucible_trace("ship", "--journal", journal, "--endpoint", f"http://127.0.0.1:{port}", "--timeout", "0.3")
    assert result.exit_code == 1
    assert "held 10, refused 0." in result.stdout


def test_another_shipper_is_left_alone(journal):
    lease = Lease(journal)
    assert lease.take()
    try:
        result = crucible_trace("ship", "--journal", journal, "--endpoint", "http://127.0.0.1:9")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(
            f"Process {os.getpid()} of this machine sends from here already. `crucible-trace"
        )
        answer(next(journal.glob("*.segment")), REFUSED, 0, 3)
        result = crucible_trace("resend", "--refused", "--journal", journal)
        assert result.exit_code == 0
        assert result.stdout == "3 refused spans will be sent again.\nThe shipper that runs does it.\n"
    finally:
        lease.release()


def test_of_a_shipper_it_is_told_where_it_sends_and_what_to_do(journal):
    claim = Claim(Destination("http://me:secret@elsewhere:4318/v1/traces?key=secret", headers={"x-key": "hidden"}), 1)
    lease = Lease(journal, claim=claim)
    assert lease.take()
    try:
        said = crucible_trace("ship", "--journal", journal, "--endpoint", "http://127.0.0.1:9").stderr
    finally:
        lease.release()
    assert said == (
        f"Process {os.getpid()} of this machine sends from here already, to http://elsewhere:4318/v1/traces. "
        "A program that is configured with http://127.0.0.1:9/v1/traces takes over when it starts; "
        f"or end that process (`kill {os.getpid()}`) and repeat this.\n"
    )


def test_resend_says_who_will_send(journal):
    answer(next(journal.glob("*.segment")), REFUSED, 0, 1)
    result = crucible_trace("resend", "--refused", "--journal", journal)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "1 refused span will be sent again."
    assert "`crucible-trace ship --endpoint URL` does it" in result.stdout
    result = crucible_trace("resend", "--refused", "r1", "--journal", journal)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Nothing of 'r1' in" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Where to?"),
        (("--endpoint", "ftp://x"), "does not begin with http://"),
        (("--endpoint", "http://x", "--header", "secret"), "must be NAME=VALUE"),
        (("--journal", "nowhere"), "No journal at nowhere"),
    ],
)
def test_errors_are_one_sentence(journal, monkeypatch, arguments, said):
    monkeypatch.chdir(journal)
    monkeypatch.setenv("CRUCIBLE_JOURNAL", str(journal))
    result = crucible_trace("ship", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (journal / "nowhere").exists()


def test_follow_sends_what_comes_until_it_is_interrupted(journal):
    with Misbehaving("ok") as collector:
        command = [sys.executable, "-m", "crucible_trace_otel.cli", "ship", "--follow", "--journal", str(journal)]
        process = subprocess.Popen(
            [*command, "--endpoint", collector.http_endpoint],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert collector.wait_for_spans(10)
            write_segment(journal, "later", 0, [span(2, 0)])
            assert collector.wait_for_spans(11)
            deadline = time.monotonic() + 10
            while examine(journal).total().held and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, complaints = process.communicate(timeout=20)
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 0
    assert out.startswith("Sent 11 to ")
    assert complaints == "Interrupted; what is not sent stays in the journal.\n"


def test_what_a_rank_kept_to_itself_is_told_and_sent_when_asked_for(journal):
    (segment,) = journal.glob("*.segment")
    answer(segment, WITHHELD, 0, 4)
    with Misbehaving("ok") as collector:
        sending = ("ship", "--journal", journal, "--endpoint", collector.http_endpoint)
        assert crucible_trace(*sending).stdout[:7] == "Sent 6 "
        status = crucible_trace("status", "--journal", journal)
        assert "4 stay on this disk alone, as CRUCIBLE_EXPORT_RANKS said." in status.stdout
        nothing = crucible_trace("resend", "--journal", journal, "--refused")
        assert (nothing.exit_code, nothing.stderr) == (1, f"Nothing in {journal} was refused.\n")
        resent = crucible_trace("resend", "--journal", journal, "--withheld")
        assert resent.stdout.splitlines()[0] == "4 withheld spans will be sent."
        assert crucible_trace(*sending).stdout[:7] == "Sent 4 "
        assert len(collector.span_ids()) == 10
    unsaid = crucible_trace("resend", "--journal", journal)
    assert unsaid.exit_code == 2
    assert "Say which" in unsaid.stderr
