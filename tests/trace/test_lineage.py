import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_trace_otel.errors import CrucibleError, FormatError, NotFoundError
from crucible_trace_otel.renderers.story import lines
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.lineage import lineage
from crucible_trace_otel.trace.spans import TraceEvent, group_into_traces
from crucible_trace_otel.trace.subjects import AmbiguousSubjectError
from tests.trace.builders import START_NS, TraceBuilder, digits
from tests.trace.lives import A, B, judged, life, saved, served, trained


def told(found):
    return [f"{span.operation} {span.about}" for span in found]


def known(found, span):
    return [(edge.type, edge.known, edge.is_same) for edge in found.edges_of(span)]


def test_what_else_rests_on_the_causes_is_left_out():
    build = TraceBuilder()
    run = build.add(spans.TRAINING_RUN, "r", lasts=9)
    one, other = (build.add(spans.MODEL_SAVE, name, run, at) for name, at in (("one", 1), ("other", 2)))
    build.add(spans.DEPLOYMENT, "a", at=5, causes=[(LinkType.SERVES, one)])
    build.add(spans.DEPLOYMENT, "b", at=6, causes=[(LinkType.SERVES, other)])
    assert told(lineage(build.trace(), "deployment:a").operations) == [
        "training_run r",
        "model_save one",
        "deployment a",
    ]
    assert told(lineage(build.trace(), "r").ahead) == [
        "model_save one",
        "model_save other",
        "deployment a",
        "deployment b",
    ]


def test_a_link_to_a_saving_of_another_digest_is_not_followed_and_its_digest_is():
    first, second = trained(1)
    third, fourth = trained(5)
    build = TraceBuilder(9)
    (save,) = (span for span in second.spans if span.operation == spans.MODEL_SAVE)
    other = {**saved("digits.npz", "d" * 64)}
    overwritten = build.add(spans.MODEL_SAVE, "digits.npz", at=15, attributes=other)
    deployment = build.add(spans.DEPLOYMENT, "api", at=20, lasts=9, causes=[(LinkType.SERVES, overwritten)])
    build.add(spans.MODEL_LOAD, "digits.npz", deployment, 21, attributes=saved("digits.npz", B))
    found = lineage((first, second, build.trace()), "api")
    assert known(found, deployment) == [("serves", "link", False), ("serves", "digest", True)]
    assert save in found.behind
    assert overwritten not in found.behind
    assert (third, fourth) != (first, second)


def test_a_model_that_two_runs_saved_alike_is_that_of_the_last_before_it_was_loaded():
    later = [span for trace in trained(5) for span in trace.spans]
    found = lineage((*trained(1), *group_into_traces(later), served(9, at=20)), "digits-api")
    assert len(found.of(spans.MODEL_SAVE)) == 1
    assert found.of(spans.MODEL_SAVE)[0].trace_id == f"{6:032x}"


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        (served(sha256=None, path="digits.npz"), [("serves", "name only", None)]),
        (served(sha256=None, path="other.npz"), []),
        (served(sha256=None, path="digits.npz", at=5), []),
    ],
    ids=["a path without a digest", "another path", "loaded before it was saved"],
)
def test_a_path_alone_is_a_name(deployment, expected):
    found = lineage((*trained(), deployment), "digits-api")
    assert known(found, found.subject.spans[0]) == expected


def test_a_deployment_that_only_names_its_model_is_joined_by_name():
    build = TraceBuilder(3)
    named = {attr.CRUCIBLE_MODEL_NAME: "softmax", attr.DEPLOYMENT_NAME: "api"}
    deployment = build.add(spans.DEPLOYMENT, "api", at=20, attributes=named)
    found = lineage((*trained(), build.trace()), "api")
    assert known(found, deployment) == [("serves", "name only", None)]
    assert told(found.of(spans.MODEL_SAVE)) == ["model_save digits.npz"]


def test_answers_of_the_other_arm_are_not_those_of_the_model():
    build = TraceBuilder()
    arms = [
        build.add(spans.MODEL_SAVE, name, attributes=saved(name, digest * 64))
        for name, digest in (("one", "1"), ("two", "2"))
    ]
    deployment = build.add(spans.DEPLOYMENT, "api", at=1, lasts=9, causes=[(LinkType.SERVES, arm) for arm in arms])
    for index in range(5):
        build.add(spans.INFERENCE, "read", deployment, 2 + index, causes=[(LinkType.SERVES, arms[index > 2])])
    trace = build.trace()
    counted = {subject: lineage(trace, subject).inferences[0].count for subject in ("one", "two", "api")}
    assert counted == {"one": 3, "two": 2, "api": 5}


def test_answers_outside_of_a_deployment_are_those_of_the_model_or_of_the_deployment_they_name():
    build = TraceBuilder()
    model = build.add(spans.MODEL_SAVE, "m", attributes=saved("m", A))
    build.add(spans.INFERENCE, "read", at=1, causes=[(LinkType.SERVES, model)])
    build.add(
        spans.DEPLOYMENT, "api", at=2, attributes={attr.DEPLOYMENT_NAME: "api"}, causes=[(LinkType.SERVES, model)]
    )
    build.add(spans.INFERENCE, "read", at=3, attributes={attr.DEPLOYMENT_NAME: "api"})
    found = lineage(build.trace(), "file:m")
    assert [(one.of.about, one.count) for one in found.inferences] == [("m", 1), ("api", 1)]


def test_a_deployment_that_was_gone_back_to_is_told_by_which_and_why():
    first, second = served(3, 20), served(4, 40)
    (old,) = (span for span in first.spans if span.operation == spans.DEPLOYMENT)
    (new,) = (span for span in second.spans if span.operation == spans.DEPLOYMENT)
    build = TraceBuilder(4)
    build.spans = list(second.spans)
    back = (LinkType.ROLLED_BACK_TO, old)
    build.add(events.DEPLOYMENT_ROLLBACK, "back to the first", new, at=48, causes=[back])
    found = lineage((*trained(), first, build.trace()), f"{3:032x}")
    assert new in found.beside
    assert [(one.deployment, one.name) for one in found.changes if one.edges and one.edges[0].cause is old] == [
        (new, events.DEPLOYMENT_ROLLBACK)
    ]
    assert [one.of for one in found.inferences] == [old]
    assert old not in lineage((*trained(), first, build.trace()), f"{4:032x}").behind


def test_answers_that_were_sampled_say_so():
    build = TraceBuilder()
    deployment = build.add(spans.DEPLOYMENT, "api", lasts=9)
    for ratio in (0.1, 0.5, "x"):
        build.add(spans.INFERENCE, "read", deployment, 1, attributes={attr.CRUCIBLE_INFERENCE_SAMPLED_RATIO: ratio})
    (counted,) = lineage(build.trace(), "api").inferences
    assert (counted.count, counted.sampled) == (3, 0.1)


def test_feedback_is_found_by_its_link_or_by_the_event_id_it_names():
    deployment = served()
    build = TraceBuilder(8)
    answer = build.add(
        spans.INFERENCE, "read", at=1, attributes={attr.CRUCIBLE_EVENT_ID: "e1", attr.DEPLOYMENT_NAME: "digits-api"}
    )
    build.add(spans.FEEDBACK, "wrong", at=50, attributes={attr.CRUCIBLE_FEEDBACK_TARGET_EVENT_ID: "e1"})
    late = build.trace()
    found = lineage((deployment, late, judged(deployment)), "digits-api")
    assert [(one.on.about, one.count, one.scores, one.mean_score) for one in found.feedback] == [
        ("digits-api", 2, 2, 0.75)
    ]
    moved = [
        span
        if span is not answer
        else TraceBuilder(8).add(spans.INFERENCE, "read", at=25, attributes=answer.attributes)
        for span in late.spans
    ]
    found = lineage((deployment, *group_into_traces(moved)), "digits-api")
    assert [(one.count, one.scores, one.mean_score) for one in found.feedback] == [(1, 0, None)]


def test_scores_of_people_and_of_evaluations_are_not_added_up():
    build = TraceBuilder()
    answer = build.add(spans.INFERENCE, "read", build.add(spans.DEPLOYMENT, "api", lasts=9), 1)
    human, automatic = (
        {attr.CRUCIBLE_FEEDBACK_SOURCE: source, attr.CRUCIBLE_FEEDBACK_SCORE: score}
        for source, score in (("human", 5.0), ("automatic", 0.5))
    )
    about = [(LinkType.FEEDBACK_ON, answer)]
    for at, said in enumerate((human, automatic, human)):
        build.add(spans.FEEDBACK, "said", at=20 + at, attributes=said, causes=about)
    tone = TraceEvent(events.GEN_AI_EVALUATION_RESULT, START_NS, {attr.GEN_AI_EVALUATION_NAME: "tone"})
    build.add(spans.FEEDBACK, "said", at=30, attributes={**automatic}, causes=about, events=(tone,))
    found = lineage(build.trace(), "api").feedback
    assert [(one.by, one.count, one.mean_score) for one in found] == [
        ("human", 2, 5.0),
        ("automatic", 1, 0.5),
        ("tone", 1, 0.5),
    ]
    assert '  2 on deployment "api" (human), mean score 5 of 2' in lines(lineage(build.trace(), "api"))


def test_a_run_that_feedback_caused_has_the_whole_life_before_it_behind_it():
    deployment = served()
    feedback = judged(deployment)
    build = TraceBuilder(7)
    build.add(spans.TRAINING_RUN, "again", at=99, causes=[(LinkType.CAUSED_BY, feedback.spans[0])])
    found = lineage((*trained(), deployment, feedback, build.trace()), "again")
    assert {spans.FEEDBACK, spans.DEPLOYMENT, spans.MODEL_SAVE, spans.HYPOTHESIS_FORMED} <= {
        span.operation for span in found.behind
    }
    assert told(lineage((*trained(), deployment, feedback, build.trace()), "softmax").ahead)[-1] == "training_run again"


def test_a_data_set_that_a_stage_made_leads_to_that_stage():
    build = TraceBuilder()
    made = {attr.CRUCIBLE_DATASET_NAME: "clean", attr.CRUCIBLE_DATASET_SHA256: A}
    stage = build.add(spans.STAGE, "clean", events=(TraceEvent(events.ARTIFACT_PRODUCED, START_NS, made),))
    run = build.add(spans.TRAINING_RUN, "r", at=5, attributes=made)
    found = lineage(build.trace(), "r")
    assert known(found, run) == [("consumes", "digest", True)]
    assert found.behind == (stage,)
    assert [(one.name, one.sha256, one.users) for one in found.datasets] == [("clean", A, (run,))]


def test_a_validation_is_found_by_its_link_from_either_side():
    build = TraceBuilder()
    first = build.add(spans.VALIDATION_RUN, "before")
    model = build.add(spans.MODEL_SAVE, "m", attributes=saved("m", A), at=1, causes=[(LinkType.EVALUATED_BY, first)])
    build.add(spans.VALIDATION_RUN, "after", at=2, causes=[(LinkType.DEPENDS_ON, model)])
    assert told(lineage(build.trace(), "m").of(spans.VALIDATION_RUN)) == [
        "validation_run before",
        "validation_run after",
    ]


def test_two_journals_that_hold_the_same_trace_are_one():
    again = [*life(), *life()]
    assert lineage(again, "digits-api") == lineage(life(), "digits-api")


def test_the_order_of_the_traces_does_not_matter():
    expected = lineage(life(), "digits-api")
    for traces in itertools.permutations(life()):
        assert lineage(traces, "digits-api") == expected


@pytest.mark.parametrize(
    ("subject", "kind", "expected"),
    [
        ("digits-api", "deployment", ["deployment digits-api"]),
        ("digits-api@production", "deployment", ["deployment digits-api"]),
        ("softmax", "model", ["model_save digits.npz"]),
        ("softmax@1", "model", ["model_save digits.npz"]),
        ("digits.npz", "file", ["model_save digits.npz"]),
        ("/somewhere/digits.npz", "file", ["model_save digits.npz"]),
        ("0.npz", "file", ["checkpoint_save 0.npz"]),
        ("r-1", "run", ["training_run digits", "training_run digits"]),
        ("digits", "run", ["training_run digits", "training_run digits"]),
        ("pipeline:nightly", "pipeline", ["pipeline nightly"]),
        ("BBBBBBBB", "digest", ["model_save digits.npz"]),
        (f"sha256:{A}", "digest", ["checkpoint_save 0.npz"]),
        (f"{3:032x}", "trace", ["deployment digits-api"]),
    ],
)
def test_a_subject_is(subject, kind, expected):
    found = lineage(life(), subject).subject
    assert (found.kind, told(found.spans), found.notes) == (kind, expected, ())


def test_an_experiment_is_found_by_its_name_and_by_its_id():
    build = TraceBuilder()
    build.add(spans.EXPERIMENT, "a question", attributes={attr.CRUCIBLE_EXPERIMENT_ID: "e-1"})
    for subject in ("a question", "e-1"):
        assert told(lineage(build.trace(), subject).subject.spans) == ["experiment a question"]
    with pytest.raises(NotFoundError, match="There is: 'a question'"):
        lineage(build.trace(), "none")


def test_a_service_that_was_deployed_again_is_its_latest_with_a_note(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    found = lineage((served(3, 20), served(4, 40)), "digits-api").subject
    assert found.spans[0].trace_id == f"{4:032x}"
    assert found.notes == (
        (
            "2 deployments are called 'digits-api'; this is the latest, of 2026-01-01 00:00:40. "
            f"Earlier: trace `{3:032x}` of 2026-01-01 00:00:20."
        ),
    )


def test_a_name_that_means_two_things_is_told_as_the_first_with_a_note():
    build = TraceBuilder()
    build.add(spans.TRAINING_RUN, "x")
    build.add(spans.DEPLOYMENT, "x", at=1)
    found = lineage(build.trace(), "x").subject
    assert (found.kind, found.notes) == (
        "deployment",
        ("'x' is told as a deployment; `run:x` asks for the other of that name.",),
    )
    assert lineage(build.trace(), "run:x").subject.kind == "run"


def side_by_side():
    build = TraceBuilder()
    for run_id in ("one", "two"):
        build.add(spans.TRAINING_RUN, "sweep", lasts=9, attributes={attr.CRUCIBLE_RUN_ID: run_id})
    for name in ("1", "2"):
        build.add(spans.MODEL_SAVE, name, at=1, attributes=saved(name, "abcdef00" + name * 56))
    return build.trace()


@pytest.mark.parametrize(
    ("traces", "subject", "said"),
    [
        (
            (served(3, 20), served(4, 40, environment="staging")),
            "digits-api",
            (
                "'digits-api' is deployed in 2 environments; ask for one of them: "
                "`digits-api@production` (of 2026-01-01 00:00:20), `digits-api@staging` (of 2026-01-01 00:00:40)."
            ),
        ),
        (
            (side_by_side(),),
            "sweep",
            (
                "2 runs are called 'sweep', at the same time; ask for one of them: "
                "`run:one` (of 2026-01-01 00:00:00), `run:two` (of 2026-01-01 00:00:00)."
            ),
        ),
        (
            (side_by_side(),),
            "abcdef00",
            (
                "2 digests begin with 'abcdef00'; ask for one of them: "
                f"`sha256:abcdef00{'1' * 56}` (of 2026-01-01 00:00:01), "
                f"`sha256:abcdef00{'2' * 56}` (of 2026-01-01 00:00:01)."
            ),
        ),
    ],
)
def test_things_that_are_there_side_by_side_have_to_be_told_apart(monkeypatch, traces, subject, said):
    monkeypatch.setenv("TZ", "UTC")
    with pytest.raises(AmbiguousSubjectError) as raised:
        lineage(traces, subject)
    assert str(raised.value) == said


def test_names_of_a_recording_cannot_write_to_the_terminal():
    build = TraceBuilder()
    for run_id in ("\x1b[31m", "\u202e2"):
        build.add(spans.TRAINING_RUN, "sweep", lasts=9, attributes={attr.CRUCIBLE_RUN_ID: run_id})
    for rest in ("\x1b", "\n"):
        build.add(spans.MODEL_SAVE, "m", attributes=saved("m", f"abcdef00{rest}"))
    for subject in ("sweep", "abcdef00", "nobody"):
        with pytest.raises(CrucibleError) as raised:
            lineage(build.trace(), subject)
        assert str(raised.value).isprintable()
    assert all(note.isprintable() for note in lineage(build.trace(), "m").subject.notes)


@pytest.mark.parametrize(
    ("subject", "error", "said"),
    [
        ("sha256:abc", FormatError, "'abc' is too short: of a SHA-256 at least the first 8 digits are needed."),
        ("sha256:" + "a" * 65, FormatError, f"'{'a' * 65}' is no SHA-256: it has 65 digits instead of 64."),
        ("b" * 65, FormatError, f"'{'b' * 65}' is no SHA-256: it has 65 digits instead of 64."),
        ("g" * 64, FormatError, f"'{'g' * 64}' is no SHA-256: it has characters that are no hexadecimal digits."),
        (
            "ccc",
            NotFoundError,
            "Nothing that is stored answers to 'ccc'. Of a digest at least the first 8 digits are needed.",
        ),
        (
            "digits-ap",
            NotFoundError,
            (
                "Nothing that is stored answers to 'digits-ap'. "
                "Near: 'digits-api', 'digits', 'digits.npz', '/srv/digits.npz'."
            ),
        ),
        (
            "digits-api@staging",
            NotFoundError,
            "Nothing that is stored answers to 'digits-api@staging'. Near: 'digits-api', 'digits.npz', 'digits'.",
        ),
        ("", NotFoundError, "Nothing answers to '': ask for a name, a path, a digest, a run id or a trace id."),
    ],
)
def test_what_cannot_be_told_is_an_error_that_says_why(subject, error, said):
    with pytest.raises(error) as raised:
        lineage(life(), subject)
    assert str(raised.value) == said


OPERATIONS = [
    spans.TRAINING_RUN,
    spans.MODEL_SAVE,
    spans.MODEL_LOAD,
    spans.CHECKPOINT_SAVE,
    spans.CHECKPOINT_LOAD,
    spans.DEPLOYMENT,
    spans.INFERENCE,
    spans.FEEDBACK,
    spans.REASONING_CHAIN,
    spans.HYPOTHESIS_FORMED,
    spans.ALTERNATIVE_REJECTED,
    spans.VALIDATION_RUN,
    spans.EPOCH,
    events.DEPLOYMENT_ROLLBACK,
    None,
]
KEYS = [
    attr.CRUCIBLE_MODEL_SHA256,
    attr.CRUCIBLE_CHECKPOINT_SHA256,
    attr.CRUCIBLE_DATASET_SHA256,
    attr.CRUCIBLE_MODEL_PATH,
    attr.CRUCIBLE_MODEL_NAME,
    attr.CRUCIBLE_DATASET_NAME,
    attr.CRUCIBLE_RUN_ID,
    attr.CRUCIBLE_RUN_ATTEMPT,
    attr.DEPLOYMENT_NAME,
    attr.CRUCIBLE_FEEDBACK_SCORE,
    attr.CRUCIBLE_FEEDBACK_LABEL,
    attr.CRUCIBLE_CHECKPOINT_EPOCH,
]
VALUES = st.sampled_from(["x", "a" * 64, 0, 1, 0.5, float("nan"), True, ("x", "a" * 64), (1, 2), b"x"])


@st.composite
def stored(draw):
    """Traces of operations that enclose and link each other in any way, circles too."""
    builders = [TraceBuilder(number + 1) for number in range(draw(st.integers(1, 3)))]
    count = draw(st.integers(1, 12))
    ids = [f"{number + 1:08x}{index + 1:08x}" for number in range(len(builders)) for index in range(count)]
    for _ in range(count):
        build = draw(st.sampled_from(builders))
        cause = TraceBuilder(draw(st.integers(1, 3)))
        cause.spans = [None] * draw(st.integers(0, count))
        kinds = draw(
            st.lists(
                st.sampled_from([*vars(LinkType).values(), "x"]).filter(lambda kind: isinstance(kind, str)), max_size=2
            )
        )
        build.add(
            draw(st.sampled_from(OPERATIONS)),
            draw(st.sampled_from(["x", ""])),
            draw(st.sampled_from([None, *ids])),
            draw(st.integers(0, 3)),
            draw(st.integers(0, 3)),
            attributes=draw(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4)),
            causes=[(kind, cause.add("x")) for kind in kinds],
        )
    return group_into_traces(span for build in builders for span in build.spans)


def answer(traces, subject):
    try:
        found = lineage(traces, subject)
    except CrucibleError as error:
        return str(error)
    return (
        repr(found),
        list(map(repr, found.operations)),
        repr(found.inferences),
        repr(found.feedback),
        repr(found.edges),
    )


@settings(max_examples=60)
@given(stored(), st.data())
def test_any_traces_have_a_lineage_which_their_order_does_not_change(traces, data):
    subject = data.draw(st.sampled_from(["x", "x@1", "a" * 8, "run:x", "deployment:x", f"{1:032x}", "000000"]))
    assert answer(data.draw(st.permutations(traces)), subject) == answer(traces, subject)


@given(st.text(max_size=70))
def test_any_text_is_told_found_or_not(subject):
    assert answer(life(), subject)


def test_the_demo_like_trace_of_the_other_tests_has_one_too():
    assert told(lineage(digits(), "digits in production").behind) == [
        "pipeline digits",
        "reasoning_chain which model reads the digits?",
        "hypothesis_formed softmax is enough",
        "stage train",
        "training_run digits",
        "model_save digits.npz",
    ]
