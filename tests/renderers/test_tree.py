from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.renderers import render
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import Result, RunState
from crucible_trace_otel.trace.spans import Trace, TraceEvent, TraceLink, group_into_traces
from tests.trace.builders import TraceBuilder, digits, window


def test_a_whole_run():
    assert (
        render(digits(), "tree")
        == """\
pipeline digits  9 s
├── stage load  250 ms
├── reasoning_chain "which model reads the digits?"  4 ms
│   ├── hypothesis_formed "softmax is enough"  confidence 0.6
│   ├── constraint_evaluated "memory under 10 MB"  satisfied
│   │     ↳ depends_on hypothesis_formed "softmax is enough"
│   └── confidence_updated "softmax is enough"  confidence 0.6 → 0.9
├── stage train  6 s
│   └── training_run "digits"  5.8 s  loss 0.25
│       │ ↳ depends_on hypothesis_formed "softmax is enough"
│       ├── epoch 0  1.5 s  loss 0.6667
│       │   │ • steps_recorded: 3 steps, loss 2 → 0.6667
│       │   └── validation_run "accuracy 0.5"
│       ├── epoch 1  1.5 s  loss 0.3333
│       │   │ • steps_recorded: 3 steps, loss 0.5 → 0.3333
│       │   └── validation_run "accuracy 0.6"
│       └── model_save "digits.npz"  20 ms  5.2 kB
└── deployment "digits in production"  900 ms
    ├── model_load "digits.npz"  10 ms
    │     ↳ serves model_save "digits.npz"
    └── inference "a blank page"  2 ms  ✗ ValueError: no digit
"""
    )


def test_a_run_whose_root_has_not_ended():
    trace = digits(finished=False)
    assert (
        render(Trace(trace.trace_id, trace.spans[:5] + trace.spans[-2:]), "tree", ascii=True)
        == """\
(still running, or its process ended without a word)
|-- stage load  250 ms
`-- reasoning_chain "which model reads the digits?"  4 ms
    |-- hypothesis_formed "softmax is enough"  confidence 0.6
    |-- constraint_evaluated "memory under 10 MB"  satisfied
    |     -> depends_on hypothesis_formed "softmax is enough"
    `-- confidence_updated "softmax is enough"  confidence 0.6 -> 0.9
(still running, or its process ended without a word)
|-- model_load "digits.npz"  10 ms
|     -> serves model_save "digits.npz" (not stored)
`-- inference "a blank page"  2 ms  x ValueError: no digit
"""
    )


def test_many_equal_siblings_are_folded_and_failed_ones_never():
    build = TraceBuilder()
    run = build.add(spans.TRAINING_RUN, "long", lasts=100)
    for index in range(50):
        status = {"status": "error", "status_message": "loss is NaN"} if index == 20 else {}
        build.add(spans.EPOCH, f"epoch {index}", run, index, 1, **status)
        build.add(spans.CHECKPOINT_SAVE, f"{index}.npz", run, index + 1, 0.5)
    folded = render(build.trace(), "tree")
    assert (
        folded
        == """\
training_run "long"  1m 40s
├── epoch 0  1 s
├── checkpoint_save "0.npz"  500 ms
├── epoch 1  1 s
├── checkpoint_save "1.npz"  500 ms
├── epoch 2  1 s
├── checkpoint_save "2.npz"  500 ms
├── epoch 3  1 s
├── checkpoint_save "3.npz"  500 ms
├── epoch 4  1 s
├── checkpoint_save "4.npz"  500 ms
├── epoch 5  1 s
├── checkpoint_save "5.npz"  500 ms
├── … 38 more epochs
├── … 39 more checkpoint_saves
├── epoch 20  1 s  ✗ loss is NaN
├── epoch 45  1 s
├── checkpoint_save "45.npz"  500 ms
├── epoch 46  1 s
├── checkpoint_save "46.npz"  500 ms
├── epoch 47  1 s
├── checkpoint_save "47.npz"  500 ms
├── epoch 48  1 s
├── checkpoint_save "48.npz"  500 ms
├── epoch 49  1 s
└── checkpoint_save "49.npz"  500 ms
"""
    )
    assert len(render(build.trace(), "tree", all=True).splitlines()) == 101


def test_everything_a_line_can_say():
    build = TraceBuilder()
    run = build.add(
        spans.TRAINING_RUN,
        "odd",
        lasts=7_500,
        attributes={
            attr.CRUCIBLE_RUN_STATE: RunState.INTERRUPTED,
            attr.CRUCIBLE_OPERATION_RESULT: Result.TIMEOUT,
            attr.CRUCIBLE_DEPENDENCY_UNKNOWN: ("nobody\nknows",),
            attr.CRUCIBLE_DEPENDENCY_CYCLE: ("a", "b"),
        },
        events=(
            window(0, 1, {"loss": [2.0, 1.0]}),
            window(2, 2, {"loss": [0.5]}),
            window(0, 2, {"norm": [3.0, 4.0]}, events.GRADIENT_COMPUTED),
            TraceEvent(events.EARLY_STOPPED, 1, {attr.CRUCIBLE_ABOUT: "no progress"}),
            TraceEvent("exception", 2, {attr.EXCEPTION_TYPE: "ValueError", attr.EXCEPTION_MESSAGE: "x\ny"}),
            *(TraceEvent("note", number) for number in range(5)),
        ),
        links=(TraceLink("f" * 32, "e" * 16),),
        dropped={"events": 12},
    )
    loss = {f"{attr.CRUCIBLE_CHECKPOINT_METRIC_TEMPLATE}.accuracy": 0.93, attr.CRUCIBLE_CHECKPOINT_SIZE: 1_250_000}
    build.add(
        spans.CHECKPOINT_SAVE, "best.npz", run, 1, 0.0042, attributes={**loss, attr.CRUCIBLE_CHECKPOINT_BEST: True}
    )
    mismatch = {attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH: True}
    build.add(spans.CHECKPOINT_LOAD, "best.npz", run, 2, 70, attributes=mismatch)
    build.add(spans.STAGE, "clean", run, 3, 1, name="stage clean", attributes={attr.CRUCIBLE_STAGE_CACHED: True})
    violated = {attr.CRUCIBLE_CONSTRAINT_SATISFIED: False}
    build.add(spans.CONSTRAINT_EVALUATED, "fits", run, 4, 1, attributes=violated)
    build.add(None, name="GET /models", parent=run, at=5, lasts=0.25, status="error")
    assert (
        render(build.trace(), "tree")
        == """\
training_run "odd"  2h 05m  ✗ interrupted, timeout
│ ↳ link span eeeeeeeeeeeeeeee (another trace)
│ ↳ "nobody knows" was never recorded
│ ↳ it depends on itself through these links
│ • steps_recorded: 3 steps in 2 windows, loss 2 → 0.5
│ • gradient_computed: 2 steps, norm 3 → 4
│ • early_stopped "no progress"
│ • exception "ValueError: x y"
│ • note
│ • note
│ • note
│ … 2 more events
│ • dropped while recording: 12 events
├── checkpoint_save "best.npz"  4.2 ms  accuracy 0.93  1.25 MB  best
├── checkpoint_load "best.npz"  1m 10s  ✗ the file is not what was saved
├── stage clean  1 s  cached
├── constraint_evaluated "fits"  violated
└── GET /models  250 ms  ✗ error
"""
    )


def test_spans_that_are_each_others_parents_are_shown():
    build = TraceBuilder()
    first = build.add(spans.STAGE, "a", "0000000100000002", lasts=1)
    build.add(spans.STAGE, "b", first, lasts=2)
    build.add(spans.STAGE, "itself", "0000000100000003", at=1, lasts=3)
    assert render(build.trace(), "tree") == 'stage "a"  1 s\n└── stage "b"  2 s\nstage "itself"  3 s\n'


def test_a_very_deep_trace_is_drawn_in_little_room():
    build = TraceBuilder()
    last = None
    for number in range(3_000):
        last = build.add(spans.STAGE, str(number), last, number, 3_000 - number)
    lines = render(build.trace(), "tree").splitlines()
    assert lines[2_999].strip() == '└── (2999) stage "2999"  1 s'
    assert max(map(len, lines)) < 160


def test_a_complete_trace_that_lost_a_span_says_so():
    trace = digits()
    without = tuple(span for span in trace.spans if span.operation != spans.DEPLOYMENT)
    assert render(Trace(trace.trace_id, without), "tree").splitlines()[-4:] == [
        "(its record is damaged, or it never ended)",
        '├── model_load "digits.npz"  10 ms',
        '│     ↳ serves model_save "digits.npz"',
        '└── inference "a blank page"  2 ms  ✗ ValueError: no digit',
    ]


texts = st.text(max_size=20) | st.sampled_from(["\x1b[31mred", "a\nb", "\u202eevil", "[bold]x[/]", "\r", "e\x00nd", ""])
values = st.one_of(texts, st.integers(), st.floats(), st.booleans(), st.lists(texts, max_size=2).map(tuple), st.none())
known = sorted(name for key, name in vars(attr).items() if key.startswith("CRUCIBLE_"))
anything = st.dictionaries(st.sampled_from(known) | texts, values, max_size=6)


@st.composite
def hostile_traces(draw):
    build = TraceBuilder()
    for _ in range(draw(st.integers(1, 8))):
        parent = draw(st.none() | st.integers(1, 9).map(lambda number: f"{1:08x}{number:08x}"))
        operation = draw(st.sampled_from([spans.EPOCH, spans.HYPOTHESIS_FORMED, spans.TRAINING_RUN, None]))
        links = [TraceLink(f"{draw(st.integers(1, 2)):032x}", f"{1:08x}{draw(st.integers(1, 9)):08x}", draw(anything))]
        event = TraceEvent(draw(st.sampled_from([events.STEPS_RECORDED, "exception", "x"])), 1, draw(anything))
        span = build.add(
            operation, draw(texts), parent, draw(st.integers(0, 5)), draw(st.integers(-1, 5)), name=draw(texts),
            attributes=draw(anything), links=tuple(links), events=(event,),
            status=draw(st.sampled_from(["unset", "error"])), status_message=draw(texts),
        )  # fmt: skip
        build.spans[-1] = replace(span, parent_is_remote=draw(st.booleans()))
    return group_into_traces(build.spans)[0]


@given(hostile_traces(), st.booleans())
def test_any_trace_is_drawn_with_every_span_and_no_terminal_code(trace, show_all):
    text = render(trace, "tree", all=show_all)
    assert len(text.splitlines()) >= len(trace.spans)
    assert not [c for c in text if c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2028\x1b")]
    text.encode("utf-8")
    assert render(trace, "tree", all=show_all, ascii=True).isascii()
