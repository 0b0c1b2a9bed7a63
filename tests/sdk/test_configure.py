"""`configure()`: providers of others, a second call, the resource, and what can be read back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace as trace_api
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import crucible_trace_otel as crucible
from crucible_trace_otel import sdk
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.sdk._settings import read_settings
from tests.journal.otlp import names
from tests.journal.process import run, start

if TYPE_CHECKING:
    from tests.backends.sink import Sink


def stored(place: str) -> list[str]:
    return names(read_directory(place).spans)


def resource_of(place: str) -> dict[str, str]:
    first = ResourceSpans.FromString(read_directory(place).spans[0].resource)
    return {pair.key: pair.value.string_value for pair in first.resource.attributes}


def record(*stages: str) -> None:
    for name in stages:
        with crucible.stage(name):
            pass


def test_the_journal_and_the_counts() -> None:
    with crucible.configure(service_name="s", journal="j", resource_attributes={"team": "x", "none": None}) as handle:
        record("a", "b")
        report = handle.flush()
        assert (report.recorded, report.stored, report.lost, report.acknowledged) == (2, 2, 0, 0)
        assert report.endpoint is None
        assert not report
    assert stored("j") == ["stage a", "stage b"]
    resource = resource_of("j")
    assert (resource["service.name"], resource["team"]) == ("s", "x")
    assert "none" not in resource
    assert isinstance(trace_api.get_tracer_provider(), TracerProvider)


def test_nothing_configured_is_a_false_report() -> None:
    assert crucible.flush(0.1) == crucible.shutdown(0.1) == crucible.Report()
    assert not crucible.flush(0.1)


@pytest.mark.parametrize(
    ("attributes", "name", "expected"),
    [
        ({"service.name": "from the attributes"}, None, "from the attributes"),
        ({"service.name": "from the attributes"}, "given", "given"),
        ({}, None, "from the variable"),
    ],
)
def test_the_service_name_is_never_unknown(
    monkeypatch: pytest.MonkeyPatch, attributes: dict[str, str], name: str | None, expected: str
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from the variable")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "region=here")
    crucible.configure(journal="j", service_name=name, resource_attributes=attributes)
    record("a")
    assert (resource_of("j")["service.name"], resource_of("j")["region"]) == (expected, "here")


@pytest.mark.parametrize("start", ["script", "-c", "-m", "stdin"])
def test_a_process_nobody_named_has_a_name(tmp_path: Path, start: str) -> None:
    import subprocess
    import sys

    from tests.journal.process import environment

    code = "import crucible_trace_otel as c\nc.configure(journal='j')\nwith c.stage('a'): pass\n"
    (tmp_path / "trainer.py").write_text(code)
    arguments = {"script": ["trainer.py"], "-c": ["-c", code], "-m": ["-m", "trainer"], "stdin": ["-"]}[start]
    subprocess.run(
        [sys.executable, *arguments], cwd=tmp_path, env=environment(), input=code, text=True, check=True, timeout=60
    )
    expected = {"script": "trainer", "-m": "trainer"}.get(start, "python")
    assert resource_of(str(tmp_path / "j"))["service.name"] == expected


def foreign() -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "theirs"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def test_a_provider_set_up_before_is_respected(warned: list[str], sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, exporter = foreign()
    trace_api.set_tracer_provider(provider)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.http_endpoint)
    for _ in range(3):
        handle = crucible.configure(service_name="ours", journal="j")
    assert len(provider._active_span_processor._span_processors) == 2
    record("a")
    with trace_api.get_tracer("somebody").start_as_current_span("theirs"):
        pass
    report = handle.shutdown()
    assert trace_api.get_tracer_provider() is provider
    assert resource_of("j")["service.name"] == "theirs"
    assert len(warned) == 1
    assert "keeps its service name" in warned[0]
    assert stored("j") == [span.name for span in exporter.get_finished_spans()] == ["stage a", "theirs"]
    assert (report.endpoint, report.stored) == (None, 2)
    assert sink.spans() == []


def test_a_provider_set_up_before_sends_through_us_only_when_told(sink: Sink) -> None:
    provider, exporter = foreign()
    trace_api.set_tracer_provider(provider)
    crucible.configure(journal=False, endpoint=sink.http_endpoint)
    record("a")
    assert crucible.flush()
    assert [span.name for span in sink.spans()] == [span.name for span in exporter.get_finished_spans()] == ["stage a"]


def test_a_provider_given_leaves_the_global_one_alone() -> None:
    provider, exporter = foreign()
    crucible.configure(journal="j", tracer_provider=provider)
    record("a")
    assert isinstance(trace_api.get_tracer_provider(), trace_api.ProxyTracerProvider)
    assert stored("j") == [span.name for span in exporter.get_finished_spans()] == ["stage a"]


def test_a_provider_that_takes_no_processor_is_refused() -> None:
    with pytest.raises(crucible.ConfigurationError, match="takes no span processors"):
        crucible.configure(journal=False, tracer_provider=trace_api.NoOpTracerProvider())


def test_a_bad_argument_leaves_what_was_configured_at_work() -> None:
    crucible.configure(journal="j")
    with pytest.raises(crucible.ConfigurationError):
        crucible.configure(endpoint="nowhere")
    record("a")
    assert stored("j") == ["stage a"]


def test_the_second_call_replaces_the_first(sink: Sink) -> None:
    first = crucible.configure(service_name="first", journal="one", endpoint=sink.http_endpoint)
    record("a")
    across = crucible.stage("across").start()
    inside = crucible.stage("inside").start()
    second = crucible.configure(service_name="second", journal="two", endpoint=sink.http_endpoint)
    record("b")
    inside.stop()
    across.stop()
    record("c")
    assert first.flush(10).acknowledged == 1
    report = second.flush(10)
    assert stored("one") == ["stage a"]
    assert stored("two") == ["stage b", "stage inside", "stage across", "stage c"]
    assert report.complete
    assert report.acknowledged == 4
    assert sorted(span.name for span in sink.spans()) == sorted(stored("one") + stored("two"))


def test_after_shutdown_spans_are_still_stored() -> None:
    handle = crucible.configure(journal="j")
    across = crucible.stage("across").start()
    record("a")
    assert handle.shutdown() == handle.shutdown()
    across.stop()
    assert sorted(stored("j")) == ["stage a", "stage across"]
    assert handle.flush().stored == 2


def test_what_the_journal_could_not_take_is_reported(warned: list[str]) -> None:
    handle = crucible.configure(journal="j")
    Path("j").rmdir()
    Path("j").write_text("in the way")
    record("a", "b")
    report = handle.flush()
    assert (report.recorded, report.stored, report.lost) == (2, 0, 0)
    assert handle.shutdown().lost == 2
    assert len(warned) == 2
    assert "takes no records just now" in warned[0]
    assert warned[1] == "2 of 2 spans could not be stored in j."


def test_the_console_prints_what_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    with crucible.configure(journal=False, console=True):
        record("seen")
    printed = capfd.readouterr()
    assert "seen" in printed.out + printed.err


def test_a_disabled_sdk_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with crucible.configure(journal="j") as handle, crucible.training_run("r") as training:
        training.record_step(loss=1.0)
        record("a")
    assert handle.flush().recorded == 0
    assert list(Path("j").iterdir()) == []


def test_span_limits_of_the_environment_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "2")
    crucible.configure(journal="j")
    with crucible.stage("a") as stage:
        for number in range(5):
            stage.span.add_event(str(number))
    span = crucible.open_store("j").latest().spans[0]
    assert [event.name for event in span.events] == ["3", "4"]


GENERATOR = """
from opentelemetry.sdk.trace.id_generator import IdGenerator
class Counting(IdGenerator):
    def __init__(self):
        self.last = 0xabc000
    def generate_span_id(self):
        self.last += 1
        return self.last
    generate_trace_id = generate_span_id
class Broken(Counting):
    def __init__(self):
        raise RuntimeError("not today")
"""


@pytest.mark.parametrize(
    ("name", "ours", "complaint"),
    [
        ("counting", False, ""),
        ("random", True, ""),
        ("broken", True, "OTEL_PYTHON_ID_GENERATOR='broken' cannot be used (not today)"),
        ("absent", True, "OTEL_PYTHON_ID_GENERATOR='absent' cannot be used"),
    ],
)
def test_a_chosen_id_generator_is_chained(tmp_path: Path, name: str, ours: bool, complaint: str) -> None:
    (tmp_path / "generators.py").write_text(GENERATOR)
    (tmp_path / "generators-1.0.dist-info").mkdir()
    (tmp_path / "generators-1.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: generators\nVersion: 1.0\n"
    )
    (tmp_path / "generators-1.0.dist-info/entry_points.txt").write_text(
        "[opentelemetry_id_generator]\ncounting = generators:Counting\nbroken = generators:Broken\n"
    )
    code = """
    import sys
    sys.path.insert(0, ".")
    import crucible_trace_otel as crucible
    crucible.configure(service_name="s", journal=False)
    with crucible.stage("a") as stage:
        print(f"{stage.span_context.trace_id:x}")
    with crucible.training_run("r", run_id="fixed") as run:
        print(f"{run.span_context.trace_id:x}")
    """
    out, complaints = run(code, tmp_path, OTEL_PYTHON_ID_GENERATOR=name)
    stage, training = out.split()
    assert stage.startswith("abc") == (not ours)
    assert training == f"{trace_id_of('fixed'):x}"
    assert complaint in complaints
    assert bool(complaints) == bool(complaint)


def trace_id_of(run_id: str) -> int:
    from crucible_trace_otel.record._ids import trace_id_of_run

    return trace_id_of_run(run_id)


@pytest.mark.parametrize(
    ("said", "sends", "expected"),
    [
        ("", True, "off"),  # the process that sends does it each second
        ("always", True, "always"),
        ("0.1", True, 0.1),
        ("", False, 1.0),
        ("off", False, "off"),
    ],
)
def test_how_often_the_disk_is_told_to_keep_what_was_stored(
    monkeypatch: pytest.MonkeyPatch, said: str, sends: bool, expected: object
) -> None:
    monkeypatch.setenv("CRUCIBLE_SYNC", said)
    given = dict.fromkeys(("service_name", "resource_attributes", "journal", "endpoint", "protocol", "headers"))
    settings = read_settings(**given, console=None)
    assert sdk._sync(settings, sends=sends) == expected


def test_where_nobody_sends_the_program_itself_closes_what_a_killed_one_left_open(tmp_path: Path) -> None:
    killed = start(
        """
        import os
        import crucible_trace_otel as crucible
        crucible.configure(journal="j")
        crucible.training_run("killed").start()
        os.kill(os.getpid(), 9)
        """,
        tmp_path,
    )
    killed.communicate(timeout=60)
    crucible.configure(journal="j", endpoint="http://127.0.0.1:9", ship="off")
    record("a")
    until = time.monotonic() + 20
    while "training_run" not in stored("j") and time.monotonic() < until:
        time.sleep(0.05)
    assert "training_run" in stored("j")
