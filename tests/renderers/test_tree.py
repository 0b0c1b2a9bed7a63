from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.renderers import render
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import LinkType, Result, RunState
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
│   └── training_run "digits"  5.8 s  loss 0.25  6 steps
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


def test_a_study_says_what_its_trials_tried_and_reached():
    objective = {attr.CRUCIBLE_TUNING_OBJECTIVE: "accuracy"}
    rate, value = f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}.lr", attr.CRUCIBLE_TUNING_VALUE
    state, reason = attr.CRUCIBLE_TUNING_TRIAL_STATE, attr.CRUCIBLE_TUNING_TRIAL_REASON
    completed, pruned, failed = (
        attr.CRUCIBLE_TUNING_TRIALS_COMPLETED,
        attr.CRUCIBLE_TUNING_TRIALS_PRUNED,
        attr.CRUCIBLE_TUNING_TRIALS_FAILED,
    )
    build = TraceBuilder()
    best = {rate: 0.1, value: 0.93, completed: 1, pruned: 2, failed: 0}
    study = build.add(spans.TUNING_STUDY, "rates", lasts=9, attributes=objective | best)
    tried = {rate: 0.1, value: 0.93, f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.size": 7.0, state: "completed"}
    build.add(spans.TRIAL, "trial 0", study, 0, 1, attributes=objective | tried)
    build.add(spans.TRIAL, "trial 1", study, 1, 1, attributes={rate: 10, state: "pruned", reason: "loss\nrises"})
    build.add(spans.TRIAL, "trial 2", study, 2, 1, attributes={value: 2.0, state: "pruned"})
    assert (
        render(build.trace(), "tree")
        == """\
tuning_study "rates"  9 s  best accuracy 0.93  lr 0.1  1 completed, 2 pruned
├── trial 0  1 s  accuracy 0.93  lr 0.1  size 7
├── trial 1  1 s  lr 10  pruned: loss rises
└── trial 2  1 s  value 2  pruned
"""
    )


def test_what_was_learned_and_what_was_said_of_it():
    build = TraceBuilder()
    run = build.add(spans.TRAINING_RUN, "grid", lasts=9)
    rewards = window(0, 1, {"reward": [-1.0, 10.0]}, events.REWARD_RECEIVED)
    come_to = {attr.CRUCIBLE_EPISODE_RETURN: 9.0, attr.CRUCIBLE_EPISODE_LENGTH: 2}
    build.add(spans.EPISODE, "episode 0", run, 0, 1, attributes=come_to, events=(rewards,))
    drawn = {attr.CRUCIBLE_EXPERIENCE_PRIORITY_MEAN: 0.5, attr.CRUCIBLE_EXPERIENCE_EPISODE_COUNT: 1}
    build.add(spans.EXPERIENCE_SAMPLE, "32 of 500", run, 1, 0.0005, attributes=drawn)
    changed = {
        attr.CRUCIBLE_TRAINING_LOSS_VALUE: 0.25,
        attr.CRUCIBLE_POLICY_KL: 0.01,
        attr.CRUCIBLE_POLICY_ENTROPY: 1.0,
    }
    build.add(spans.POLICY_UPDATE, "policy 2", run, 2, 1, attributes=changed)
    said = {attr.CRUCIBLE_FEEDBACK_SCORE: 4.0, attr.CRUCIBLE_FEEDBACK_SOURCE: "human"}
    judged = TraceEvent(
        events.GEN_AI_EVALUATION_RESULT,
        1,
        {attr.GEN_AI_EVALUATION_NAME: "tone", attr.GEN_AI_EVALUATION_SCORE_VALUE: 0.5},
    )
    build.add(spans.FEEDBACK, "score 4", run, 3, 0.0005, attributes=said, events=(judged,))
    for reason in ("changed", "a later\nreason"):
        unlinked = {attr.CRUCIBLE_FEEDBACK_LABEL: "wrong", attr.CRUCIBLE_FEEDBACK_UNLINKED: reason}
        build.add(spans.FEEDBACK, "hm", run, 4, 0.0005, attributes=unlinked)
    assert (
        render(build.trace(), "tree")
        == """\
training_run "grid"  9 s
├── episode 0  1 s  return 9  2 steps
│     • reward_received: 2 steps, reward -1 → 10
├── experience_sample "32 of 500"  mean priority 0.5  1 episode
├── policy_update "policy 2"  1 s  loss 0.25  kl 0.01  entropy 1
├── feedback "score 4"  human
│     • gen_ai.evaluation.result "tone 0.5"
├── feedback "hm"  wrong  linked to nothing: the token was changed
└── feedback "hm"  wrong  linked to nothing: a later reason
"""
    )


def test_a_decision_says_why():
    build = TraceBuilder()
    chain = build.add(spans.REASONING_CHAIN, "choose a cache", lasts=1)
    because = attr.CRUCIBLE_DECISION_REASONING
    others = attr.CRUCIBLE_DECISION_ALTERNATIVES
    lru = build.add(
        spans.HYPOTHESIS_FORMED, "an LRU dict is enough", chain, 0.1,
        attributes={because: "200\nkeys", others: ("Redis", "memcached"), attr.CRUCIBLE_DECISION_CONFIDENCE: 0.6},
    )  # fmt: skip
    rests = {"causes": [("parent", lru)]}
    build.add(spans.ALTERNATIVE_REJECTED, "Redis", chain, 0.2, attributes={because: "a hop " * 30}, **rests)
    fits = {attr.CRUCIBLE_CONSTRAINT_SATISFIED: False, because: "11 MB", others: "compress"}
    build.add(spans.CONSTRAINT_EVALUATED, "memory under 10 MB", chain, 0.3, attributes=fits)
    build.add(spans.PATTERN_APPLIED, "memoization", chain, 0.4, attributes={because: "", others: ()})
    read = {attr.CRUCIBLE_AMBIGUITY_RESOLUTION: "per process"}
    build.add(spans.AMBIGUITY_FLAGGED, "per process or host?", chain, 0.5, attributes=read)
    build.add(spans.HYPERPARAMETER_TUNED, "lr = 0.01", chain, 0.6, attributes={because: "plateau"})
    assert (
        render(build.trace(), "tree")
        == f"""\
reasoning_chain "choose a cache"  1 s
├── hypothesis_formed "an LRU dict is enough"  confidence 0.6
│     because 200 keys
│     alternatives: Redis, memcached
├── alternative_rejected "Redis"
│     because {"a hop " * 16}a h…
│     ↳ parent hypothesis_formed "an LRU dict is enough"
├── constraint_evaluated "memory under 10 MB"  violated
│     because 11 MB
│     alternatives: compress
├── pattern_applied "memoization"
├── ambiguity_flagged "per process or host?"
│     resolution: per process
└── hyperparameter_tuned "lr = 0.01"
      because plateau
"""
    )


def served(count: int) -> TraceBuilder:
    build = TraceBuilder()
    old, new = (build.add(spans.MODEL_SAVE, name, at=-1) for name in ("old.npz", "new.npz"))
    deployment = build.add(spans.DEPLOYMENT, "digits", lasts=count)
    for number in range(count):
        model = new if number >= 7 else old
        build.add(spans.INFERENCE, f"page {number}", deployment, number, 1, causes=[("serves", model)])
    return build


def test_links_that_siblings_share_stand_at_the_first():
    assert (
        render(served(8).trace(), "tree")
        == """\
model_save "old.npz"
model_save "new.npz"
deployment "digits"  8 s
├── inference "page 0"  1 s
│     ↳ serves model_save "old.npz"  (the same for 6 more inferences)
├── inference "page 1"  1 s
├── inference "page 2"  1 s
├── inference "page 3"  1 s
├── inference "page 4"  1 s
├── inference "page 5"  1 s
├── inference "page 6"  1 s
└── inference "page 7"  1 s
      ↳ serves model_save "new.npz"
"""
    )
    assert render(served(8).trace(), "tree", all=True).count("↳ serves model_save") == 8


def test_links_that_folded_siblings_share_stand_at_the_first_that_is_shown():
    lines = render(served(20).trace(), "tree").splitlines()
    assert lines[10:14] == [
        "├── … 9 more inferences",
        '├── inference "page 15"  1 s',
        '│     ↳ serves model_save "new.npz"  (the same for 12 more inferences)',
        '├── inference "page 16"  1 s',
    ]


def test_orphans_share_links_too():
    build = served(4)
    build.spans = [span for span in build.spans if span.operation == spans.INFERENCE]
    assert (
        render(build.trace(), "tree")
        == """\
(still running, or its process ended without a word)
├── inference "page 0"  1 s
│     ↳ serves model_save "old.npz" (not stored)  (the same for 3 more inferences)
├── inference "page 1"  1 s
├── inference "page 2"  1 s
└── inference "page 3"  1 s
"""
    )


def test_the_steps_of_segments_are_counted_where_they_belong():
    build = TraceBuilder()
    run = build.add(spans.TRAINING_RUN, "long", lasts=9, events=(window(0, 1, {"val_loss": [4.0] * 2000}),))
    for part in (1, 2):
        losses = {"note": [1.0] * 1000, "val_loss": [3.0 - part] * 1000}
        build.add(spans.STEP_SEGMENT, f"part {part}", run, part, 1, events=(window(1000 + part * 1000, part, losses),))
    assert (
        render(build.trace(), "tree")
        == """\
training_run "long"  9 s
│ • steps_recorded: 4,000 steps in 3 windows, val_loss 4 → 1
├── step_segment "part 1"  1 s
│     • steps_recorded: 1,000 steps, val_loss 2 → 2
└── step_segment "part 2"  1 s
      • steps_recorded: 1,000 steps, val_loss 1 → 1
"""
    )


def test_what_was_left_or_skipped_has_not_failed():
    build = TraceBuilder()
    left = {attr.CRUCIBLE_OPERATION_RESULT: Result.CANCELLATION}
    run = build.add(spans.TRAINING_RUN, "r", lasts=2, attributes={**left, attr.CRUCIBLE_RUN_STATE: RunState.CANCELLED})
    build.add(spans.EPOCH, "epoch 0", run, 0, 1, attributes=left, status="error", status_message="Ctrl-C")
    build.add(spans.STAGE, "x", run, 1, 1, attributes={attr.CRUCIBLE_OPERATION_RESULT: Result.SKIP})
    assert (
        render(build.trace(), "tree")
        == """\
training_run "r"  2 s  left early
├── epoch 0  1 s  ✗ Ctrl-C
└── stage "x"  1 s  skipped
"""
    )
    assert "<br/>2 s, left early" in render(build.trace(), "mermaid")


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


def test_stages_that_were_tried_again_skipped_or_cached():
    build = TraceBuilder()
    retried = TraceEvent(events.STAGE_RETRIED, 0, {attr.CRUCIBLE_ABOUT: "fetch"})
    pipeline = build.add(spans.PIPELINE, "nightly", lasts=4, events=(retried,))
    first = build.add(spans.STAGE, "fetch", pipeline, 0, 1, status="error", status_message="OSError: no route")
    again = {attr.CRUCIBLE_STAGE_ATTEMPT: 1, attr.CRUCIBLE_STAGE_ITEM_COUNT: 1_200}
    build.add(spans.STAGE, "fetch", pipeline, 1, 2, attributes=again, causes=[("retried_from", first)])
    skipped = {attr.CRUCIBLE_OPERATION_RESULT: Result.SKIP, attr.CRUCIBLE_STAGE_REASON: "the input\nis unchanged"}
    event = TraceEvent(events.STAGE_SKIPPED, 0, {attr.CRUCIBLE_ABOUT: "clean"})
    build.add(
        spans.STAGE, "clean", pipeline, 3, attributes={**skipped, attr.CRUCIBLE_STAGE_CACHED: True}, events=(event,)
    )
    assert (
        render(build.trace(), "tree")
        == """\
pipeline "nightly"  4 s
├── stage "fetch"  1 s  ✗ OSError: no route
├── stage "fetch"  2 s  attempt 2  1,200 items
│     ↳ retried_from stage "fetch"
└── stage "clean"  cached  skipped: the input is unchanged
"""
    )


def versions() -> TraceBuilder:
    """Two versions of one service, of which the second gives way to the first."""
    build = TraceBuilder()
    said = {attr.DEPLOYMENT_ENVIRONMENT_NAME: "production"}
    first, second = (
        build.add(
            spans.DEPLOYMENT,
            "api",
            at=at,
            lasts=9,
            attributes={**said, attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION: str(at)},
        )
        for at in (1, 2)
    )
    said = {attr.CRUCIBLE_AB_EFFECT: -0.5, attr.CRUCIBLE_AB_P_VALUE: 0.001, attr.CRUCIBLE_AB_WINNER: "1"}
    build.add(spans.A_B_TEST, "1 or 2", second, 2.5, attributes=said)
    build.add(spans.DEPLOYMENT_ROLLBACK, "back", second, 3, causes=[(LinkType.ROLLED_BACK_TO, first)])
    return build


def test_deployments_of_one_name_are_told_apart_by_their_version():
    assert (
        render(versions().trace(), "tree")
        == """\
deployment "api"  9 s  version 1  in production
deployment "api"  9 s  version 2  in production
├── a_b_test "1 or 2"  effect -0.5  p 0.001  winner 1
└── deployment_rollback "back"
      ↳ rolled_back_to deployment "api" version 1
"""
    )
