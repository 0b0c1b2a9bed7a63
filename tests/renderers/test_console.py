import io
import os
import re
import threading

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode

from crucible_trace_otel.renderers.console import ConsoleSpanProcessor
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


class NarrowEncoding(io.StringIO):
    encoding = "ascii"


def tracer_to(stream):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(ConsoleSpanProcessor(stream))
    return provider.get_tracer("tests")


def ours(operation, about, **more):
    return {attr.CRUCIBLE_OPERATION_NAME: operation, attr.CRUCIBLE_ABOUT: about, **more}


def record(tracer):
    second = 1_000_000_000
    with tracer.start_as_current_span(
        "training_run", attributes=ours(spans.TRAINING_RUN, "digits"), start_time=0, end_on_exit=False
    ) as run:
        epoch = tracer.start_span("epoch", attributes=ours(spans.EPOCH, "epoch 0"), start_time=0)
        epoch.set_attribute(attr.CRUCIBLE_TRAINING_LOSS_VALUE, 0.5)
        epoch.end(2 * second)
        confident = {attr.CRUCIBLE_DECISION_CONFIDENCE: 0.6}
        tracer.start_span("hypothesis_formed", attributes=ours(spans.HYPOTHESIS_FORMED, "fits", **confident)).end()
        tracer.start_span("GET /", start_time=0).end(second // 4)
        saved = tracer.start_span("model_save", attributes=ours(spans.MODEL_SAVE, "m.npz"), start_time=0)
        saved.set_status(Status(StatusCode.ERROR, "OSError: disk\nfull"))
        saved.end(second)
    run.end(3 * second)


def test_what_was_left_early_has_not_failed():
    stream = io.StringIO()
    left = {attr.CRUCIBLE_OPERATION_RESULT: "cancellation"}
    tracer_to(stream).start_span("epoch", attributes=ours(spans.EPOCH, "epoch 0", **left), start_time=0).end(10**9)
    assert stream.getvalue() == "▶ epoch 0\n- epoch 0  1 s  left early\n"


def test_the_verdict_over_a_run_stands_below_it():
    stream = io.StringIO()
    verdict = {attr.CRUCIBLE_RUN_VERDICT: "completed after 2 epochs;\x1b[31m loss 0.5 at step 9"}
    tracer_to(stream).start_span("training_run", attributes=ours(spans.TRAINING_RUN, "r", **verdict), start_time=0).end(
        10**9
    )
    *_, line = stream.getvalue().splitlines()
    assert line == "  • completed after 2 epochs;[31m loss 0.5 at step 9"


TOLD = """\
▶ training_run "digits"
  ▶ epoch 0
  ✓ epoch 0  2 s  loss 0.5
  • hypothesis_formed "fits"  confidence 0.6
  ▶ GET /
  ✓ GET /  250 ms
  ✗ model_save "m.npz"  1 s  OSError: disk full
✓ training_run "digits"  3 s
"""


def test_operations_are_told_as_they_start_and_end():
    stream = io.StringIO()
    record(tracer_to(stream))
    assert stream.getvalue() == TOLD


def test_a_terminal_gets_the_same_lines_in_colours(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    record(tracer_to(stream))
    assert "\x1b[36m▶\x1b[0m training_run" in stream.getvalue()
    assert re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()) == TOLD


def test_no_color_is_respected(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    record(tracer_to(stream))
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", stream.getvalue())


@pytest.mark.parametrize("operation", [spans.EPOCH_STARTED, spans.EPOCH_INTERRUPTED, spans.PROGRESS])
def test_a_sign_of_life_is_one_line(operation):
    stream = io.StringIO()
    tracer_to(stream).start_span(operation, attributes=ours(operation, "epoch 0"), start_time=0).end(0)
    assert stream.getvalue() == f'• {operation} "epoch 0"\n'


def test_a_long_operation_is_seen_before_it_ends():
    stream = io.StringIO()
    span = tracer_to(stream).start_span("epoch", attributes=ours(spans.EPOCH, "epoch 0"))
    assert stream.getvalue() == "▶ epoch 0\n"
    span.end()


@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
def test_what_a_user_wrote_is_never_a_command(stream_type):
    stream = stream_type()
    tracer_to(stream).start_span("x", attributes=ours(spans.HYPOTHESIS_FORMED, "[bold]a[/]\x1b[2J\n:smile:")).end()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert plain == '• x "[bold]a[/][2J :smile:"\n'


def test_a_stream_without_such_characters_gets_ascii():
    stream = NarrowEncoding()
    record(tracer_to(stream))
    tracer_to(stream).start_span("é", attributes=ours(spans.MODEL_LOAD, "日")).end()
    assert stream.getvalue().isascii()
    assert stream.getvalue().startswith(
        '> training_run "digits"\n  > epoch 0\n  + epoch 0  2 s  loss 0.5\n  * hypothesis'
    )


def test_a_closed_or_missing_stream_is_silence(monkeypatch):
    closed = io.StringIO()
    closed.close()
    record(tracer_to(closed))
    monkeypatch.setattr("sys.stderr", None)
    record(tracer_to(None))


def test_a_stream_that_fails_does_not_reach_the_program():
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    record(tracer_to(Broken()))


def test_standard_error_of_the_moment_is_the_default(capsys):
    record(tracer_to(None))
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", TOLD)


def test_lines_of_many_threads_stay_whole():
    stream = io.StringIO()
    tracer = tracer_to(stream)

    def work():
        for _ in range(50):
            tracer.start_span("epoch", attributes=ours(spans.EPOCH, "epoch 0"), start_time=0).end(10**9)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(stream.getvalue().splitlines()) == ["▶ epoch 0"] * 200 + ["✓ epoch 0  1 s"] * 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_prints_although_a_lost_thread_held_the_lock():
    processor = ConsoleSpanProcessor(io.StringIO())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    held, done = threading.Event(), threading.Event()

    def hold():
        with processor._lock:
            held.set()
            done.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        provider.get_tracer("t").start_span("s").end()
        os._exit(0)
    done.set()
    holder.join()
    assert os.waitpid(child, 0)[1] == 0


def test_spans_that_never_end_do_not_pile_up(monkeypatch):
    monkeypatch.setattr("crucible_trace_otel.renderers.console._MOST_OPEN", 10)
    processor = ConsoleSpanProcessor(io.StringIO())
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    for _ in range(100):
        provider.get_tracer("t").start_span("s")
    assert len(processor._open) == 10
    assert provider.force_flush()
    provider.shutdown()
    assert not processor._open
