"""Signals, forks, workers and moving about: nothing hangs, nothing is lost, nothing is written twice."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.backends.sink import Sink

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run(code: str, place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=place,
        env={**os.environ, **environment},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_signal_handler_may_record_and_shut_down(tmp_path: Path) -> None:
    finished = run(
        """
        import signal, sys
        import crucible_trace_otel as crucible
        crucible.configure(service_name="s")
        seen = 0

        def handler(*_):
            global seen
            seen += 1
            with crucible.stage("handler"):
                pass
            if seen >= 50:
                signal.setitimer(signal.ITIMER_REAL, 0)
                crucible.shutdown()
                print(seen)
                sys.exit(0)

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while True:
            with crucible.stage("work"):
                pass
        """,
        tmp_path,
    )
    assert (finished.returncode, finished.stdout) == (0, "50\n"), finished.stderr
    content = crucible.open_store(tmp_path / ".crucible")
    names = [span.name for trace in content.traces() for span in trace.spans]
    assert names.count("stage handler") == 50


@needs_fork
def test_a_child_that_leaves_through_its_parents_run_leaves_the_run_to_the_parent(tmp_path: Path) -> None:
    finished = run(
        """
        import os, sys
        import crucible_trace_otel as crucible
        crucible.configure(service_name="s")
        with crucible.training_run("parent") as run:
            for step in range(50):
                run.record_step(loss=1.0)
            child = os.fork()
            if child == 0:
                for step in range(10):
                    run.record_step(loss=2.0)
                sys.exit(3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
            for step in range(500):
                run.record_step(loss=1.0)
        """,
        tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    trace = crucible.open_store(tmp_path / ".crucible").get("parent")
    runs = [span for span in trace.spans if span.name == "training_run"]
    assert [span.status for span in runs] == ["unset"]
    rows = crucible.step_rows(trace).rows
    assert [row["loss"] for row in rows].count(1.0) == 550
    assert [row["loss"] for row in rows].count(2.0) == 10


@needs_fork
def test_a_fork_during_configure_hangs_nobody(tmp_path: Path) -> None:
    finished = run(
        """
        import os, threading
        import crucible_trace_otel as crucible
        stop = threading.Event()

        def configure():
            while not stop.is_set():
                crucible.configure(journal=False)

        crucible.configure(journal=False)
        thread = threading.Thread(target=configure)
        thread.start()
        for _ in range(20):
            child = os.fork()
            if child == 0:
                crucible.configure(journal=False)
                os._exit(0)
            os.waitpid(child, 0)
        stop.set()
        thread.join()
        """,
        tmp_path,
        PYTHONWARNINGS="ignore",
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_of_multiprocessing_sends_and_stores_to_its_end(sink: Sink, tmp_path: Path, method: str) -> None:
    (tmp_path / "job.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, sys
            import crucible_trace_otel as crucible

            def work(endpoint):
                if {method != "fork"}:
                    crucible.configure(service_name="worker", endpoint=endpoint)
                with crucible.training_run("worker") as run:
                    with open("large", "wb") as file:
                        file.truncate(20_000_000)
                    run.save_checkpoint("large")

            if __name__ == "__main__":
                crucible.configure(service_name="main", endpoint=sys.argv[1])
                worker = multiprocessing.get_context("{method}").Process(target=work, args=(sys.argv[1],))
                worker.start()
                worker.join()
            """
        )
    )
    finished = subprocess.run(
        [sys.executable, "job.py", sink.http_endpoint], cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    stored = {span.name for trace in crucible.open_store(tmp_path / ".crucible").traces() for span in trace.spans}
    assert stored == {"training_run", "checkpoint_save"}
    assert sink.wait_for_spans(3)
    assert {span.name for span in sink.spans()} == {*stored, "training_run_started"}


def test_the_journal_stays_where_it_was_when_the_program_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    crucible.configure(service_name="s", journal="j")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with crucible.stage("s"):
        pass
    assert len(list((tmp_path / "j").glob("*.segment"))) == 1
    assert not (tmp_path / "elsewhere" / "j").exists()


def test_ctrl_c_costs_at_most_the_epoch_it_hits(tmp_path: Path) -> None:
    finished = run(
        """
        import random, signal
        import crucible_trace_otel as crucible
        handle = crucible.configure(service_name="s")
        rows = epochs = 0
        for attempt in range(60):
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.002, 0.006), 0.05)
                with crucible.training_run("run") as run:
                    while True:
                        for _ in run.epochs(1):
                            for _ in range(30):
                                run.record_step(loss=1.0)
                                rows += 1
            except KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        report = handle.shutdown()
        assert report.stored >= report.recorded and report.lost == 0, report
        print(rows)
        """,
        tmp_path,
        PYTHONWARNINGS="ignore",
    )
    assert finished.returncode == 0, finished.stderr
    read = sum(len(crucible.step_rows(trace).rows) for trace in crucible.open_store(tmp_path / ".crucible").traces())
    assert read >= int(finished.stdout) - 60 * 30  # each of 60 interruptions, an epoch of 30 rows


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-5"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "zero"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "abc"),
        ("OTEL_PYTHON_TRACER_PROVIDER", "nonsense"),
    ],
)
def test_a_variable_that_cannot_be_used_is_one_line_in_a_fresh_process(
    tmp_path: Path, variable: str, value: str
) -> None:
    code = """
    import crucible_trace_otel as crucible
    crucible.configure(service_name="s", endpoint="http://127.0.0.1:9", journal="j")
    crucible.shutdown(0)
    """
    finished = run(code, tmp_path, **{variable: value})
    assert finished.returncode == 0, finished.stderr
    ours = [line for line in finished.stderr.splitlines() if line.startswith(variable)]
    assert len(ours) == 1, finished.stderr
    assert repr(value) in ours[0]


@pytest.mark.parametrize("value", ["10", "100000"])
def test_a_queue_of_any_size_is_a_queue(sink: Sink, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", value)
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000")
    crucible.configure(journal=False, endpoint=sink.http_endpoint)
    with crucible.stage("s"):
        pass
    assert crucible.flush(10)


def test_a_configure_that_fails_leaves_the_one_before_at_work(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = crucible.configure(journal=False, endpoint=sink.http_endpoint)
    with monkeypatch.context() as broken:
        broken.setattr("crucible_trace_otel.sdk.Sender", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            crucible.configure(journal=False, endpoint="http://127.0.0.1:9")
    with crucible.stage("s"):
        pass
    assert handle.flush(10)


@pytest.mark.parametrize("headers", [{"x key": "v"}, {"x": "a\r\nb"}, {"ü": "v"}, {"x": "é"}])
def test_headers_that_http_does_not_carry_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="headers"):
        crucible.configure(journal=False, endpoint="http://127.0.0.1:9", headers=headers)


@pytest.mark.parametrize("timeout", [None, "soon", float("nan")])
def test_a_timeout_that_is_no_number_is_warned_about(warned: list[str], timeout: object) -> None:
    crucible.configure(journal=False)
    before = time.monotonic()
    assert not crucible.flush(timeout)
    assert time.monotonic() - before < 5
    assert "no number of seconds" in warned[0]


@needs_fork
def test_a_child_does_not_wait_for_a_lock_of_its_parents_span(tmp_path: Path) -> None:
    finished = run(
        """
        import os, threading
        import crucible_trace_otel as crucible
        crucible.configure(service_name="s")
        run = crucible.training_run("run").start()
        stop = threading.Event()

        def touch():
            while not stop.is_set():
                run.set({"crucible.training.batch.size": 1})

        threads = [threading.Thread(target=touch) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(60):
            child = os.fork()
            if child == 0:
                run.stop()
                os._exit(0)
            os.waitpid(child, 0)
        stop.set()
        for thread in threads:
            thread.join()
        """,
        tmp_path,
        PYTHONWARNINGS="ignore",
    )
    assert finished.returncode == 0, finished.stderr
