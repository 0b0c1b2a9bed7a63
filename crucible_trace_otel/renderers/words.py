"""How one operation is told in a line: title, duration, key facts, what went wrong.

Everything that comes from a recording is untrusted text: `plain()` makes one harmless line of it.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import Result, RunState, TrialState, UnlinkedReason
from crucible_trace_otel.trace.spans import DECISIONS, TraceSpan

__all__ = [
    "DECISIONS",
    "Told",
    "comparison",
    "duration",
    "leading",
    "name_of",
    "number",
    "plain",
    "plural",
    "quoted",
    "reasoning",
    "reasons",
    "tell",
    "tell_span",
]

_LONGEST = 200
_LONGEST_REASON = 100
_MOST_METRICS = 4
_AT_ONCE_S = 10e-6
_MOMENT_S = 1e-3
_PROCESSES: Final = frozenset({operations.TRAINING_RUN, operations.WORKER})
_MOMENTS: Final = frozenset(
    {
        operations.VALIDATION_RUN,
        operations.HYPERPARAMETER_TUNED,
        operations.EXPERIENCE_SAMPLE,
        operations.POLICY_UPDATE,
        operations.FEEDBACK,
    }
)
_SECONDS_A_MINUTE = 60
_MINUTES_AN_HOUR = 60
_BYTES_A_UNIT = 1000
# Controls, and the invisible characters that turn the direction of all that follows them on a line.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_TRIAL_ENDS: Final = {
    attr.CRUCIBLE_TUNING_TRIALS_COMPLETED: TrialState.COMPLETED,
    attr.CRUCIBLE_TUNING_TRIALS_PRUNED: TrialState.PRUNED,
    attr.CRUCIBLE_TUNING_TRIALS_FAILED: TrialState.FAILED,
}
# What went otherwise than planned, and did not fail.
_REMARKS: Final = {Result.CANCELLATION: "left early", Result.SKIP: "skipped"}
_UNLINKED: Final = {
    UnlinkedReason.FORM: "what was given is no token",
    UnlinkedReason.CHANGED: "the token was changed",
    UnlinkedReason.VERSION: "a later version made the token",
    UnlinkedReason.UNSIGNED: "the token is not signed",
    UnlinkedReason.KEYLESS: "the token is signed, and there was no key",
    UnlinkedReason.NOT_RECORDED: "what it is about was not recorded",
}
_STILL_RUNNING: Final = "still running"
_QUIET_RESULTS = frozenset({"", Result.SUCCESS, *_REMARKS})
_UNENDED = frozenset({RunState.RUNNING, RunState.INTERRUPTED})
_QUIET_STATES = frozenset({"", RunState.COMPLETED, RunState.RUNNING, RunState.FAILED, RunState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Told:
    """One operation in words."""

    title: str
    """Its name and what it is about."""
    duration: str
    """Empty for what happened at once, such as a decision."""
    facts: tuple[str, ...]
    """Loss, metrics, confidence, ...: what a person looks for first."""
    remark: str
    """What is otherwise than planned without being a failure: `left early`, `pruned`, `still running`; else empty."""
    problem: str
    """What went wrong; empty if nothing did."""


def plain(text: object, longest: int = _LONGEST) -> str:
    """`text` as one line without control characters, at most `longest` characters."""
    line = " ".join(_UNSAFE.sub(_replacement, str(text)).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def quoted(operation: str, about: str) -> str:
    """`operation "about"`; only one of them where it says all."""
    operation, about = plain(operation), plain(about)
    if not about or operation == about or operation.endswith(f" {about}"):
        return operation
    return about if about.startswith(f"{operation} ") else f'{operation} "{about}"'


def name_of(span: TraceSpan) -> str:
    """How another operation calls it: a deployment with its version, since all versions have one name."""
    version = span.attributes.get(attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION)
    named = quoted(span.operation, span.about)
    return f"{named} version {plain(version, 40)}" if version and span.operation == operations.DEPLOYMENT else named


def duration(seconds: float) -> str:
    """A duration with about three digits: `0.41 ms`, `12.3 s`, `1m 02s`, `2h 05m`."""
    if abs(seconds) < 1:
        return f"{seconds * 1000:.3g} ms"
    if seconds < _SECONDS_A_MINUTE:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), _SECONDS_A_MINUTE)
    if minutes < _MINUTES_AN_HOUR:
        return f"{minutes}m {rest:02}s"
    hours, minutes = divmod(minutes, _MINUTES_AN_HOUR)
    return f"{hours}h {minutes:02}m"


def number(value: object) -> str:
    """A number with four digits; anything else as a short text."""
    return f"{value:.4g}" if isinstance(value, float) else plain(value, 40)


def plural(count: int, noun: str) -> str:
    """`noun` as it stands after `count`: `stage`, `stages`, `model_loads`; one of several words stays as it is."""
    noun = plain(noun)
    return f"{noun}s" if count != 1 and noun.replace("_", "").isalpha() and not noun.endswith(("d", "s")) else noun


def leading(columns: Iterable[str]) -> str | None:
    """The column that tells how a training goes: `loss`, or else the first named like a loss, or else the first."""
    names = list(columns)
    alike = [name for name in names if "loss" in name.lower()]
    return "loss" if "loss" in names else next(iter([*alike, *names]), None)


def reasons(span: TraceSpan) -> list[str]:
    """Why it was decided so, a line each: the reasoning, the alternatives, how an ambiguity was resolved."""
    alternatives = span.attributes.get(attr.CRUCIBLE_DECISION_ALTERNATIVES, ())
    listed = ", ".join(map(str, alternatives)) if isinstance(alternatives, tuple) else alternatives
    said = {
        "because": reasoning(span),
        "alternatives:": plain(listed, _LONGEST_REASON),
        "resolution:": plain(span.attributes.get(attr.CRUCIBLE_AMBIGUITY_RESOLUTION, ""), _LONGEST_REASON),
    }
    return [f"{word} {text}" for word, text in said.items() if text]


def reasoning(span: TraceSpan) -> str:
    """Why it was decided so, in one line of at most a hundred characters; empty if nobody said."""
    return plain(span.attributes.get(attr.CRUCIBLE_DECISION_REASONING, ""), _LONGEST_REASON)


def tell_span(span: TraceSpan) -> Told:
    """A stored span in words."""
    return tell(span.name, span.attributes, span.duration_s, span.status_message if span.status == "error" else None)


def tell(name: str, attributes: Mapping[str, Any], seconds: float, error: str | None) -> Told:
    """A span in words.

    Args:
        name: The span's name.
        attributes: Its attributes, those of other instrumentations too.
        seconds: How long it took.
        error: What its status says where that is an error, perhaps an empty text; else None.
    """
    about = str(attributes.get(attr.CRUCIBLE_ABOUT, ""))
    operation = str(attributes.get(attr.CRUCIBLE_OPERATION_NAME))
    # Of what is recorded by one call, a duration this short is that of the call.
    is_at_once = operation in DECISIONS or seconds < (_MOMENT_S if operation in _MOMENTS else _AT_ONCE_S)
    return Told(
        title=quoted(name, about) or "(no name)",
        duration="" if is_at_once else duration(seconds),
        facts=tuple(fact for fact in _facts(attributes) if not _says(about, fact)),
        remark="" if error is not None else _remark(attributes),
        problem=_problem(attributes, error),
    )


def _remark(attributes: Mapping[str, Any]) -> str:
    if attributes.get(attr.CRUCIBLE_RUN_STATE) == RunState.RUNNING:
        return _STILL_RUNNING
    if attributes.get(attr.CRUCIBLE_TUNING_TRIAL_STATE) == TrialState.PRUNED:
        return ": ".join(
            filter(None, (TrialState.PRUNED, plain(attributes.get(attr.CRUCIBLE_TUNING_TRIAL_REASON, ""))))
        )
    if unlinked := attributes.get(attr.CRUCIBLE_FEEDBACK_UNLINKED):
        return f"linked to nothing: {_UNLINKED.get(str(unlinked), plain(unlinked))}"
    remark = _REMARKS.get(str(attributes.get(attr.CRUCIBLE_OPERATION_RESULT)), "")
    reason = plain(attributes.get(attr.CRUCIBLE_STAGE_REASON, ""), _LONGEST_REASON)
    return f"{remark}: {reason}" if remark and reason else remark


def _says(about: str, fact: str) -> bool:
    """Whether the summary holds `fact` as it stands: `accuracy 0.9` is not in `accuracy 0.95`."""
    return re.search(rf"(?<![\w.]){re.escape(fact)}(?![\w.])", about) is not None


def _facts(attributes: Mapping[str, Any]) -> list[str]:
    facts = _process_facts(attributes)
    loss = attributes.get(attr.CRUCIBLE_TRAINING_LOSS_VALUE)
    if loss is not None:
        facts.append(f"loss {number(loss)}")
    facts += _tuning_facts(attributes)
    facts += _learning_facts(attributes)
    for template in (attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE, attr.CRUCIBLE_CHECKPOINT_METRIC_TEMPLATE):
        metrics = [(key, value) for key, value in attributes.items() if key.startswith(f"{template}.")]
        facts += [f"{plain(key[len(template) + 1 :], 40)} {number(value)}" for key, value in metrics[:_MOST_METRICS]]
    confidence = attributes.get(attr.CRUCIBLE_DECISION_CONFIDENCE)
    if confidence is not None:
        before = attributes.get(attr.CRUCIBLE_DECISION_PREVIOUS_CONFIDENCE)
        change = "" if before is None else f"{number(before)} → "
        facts.append(f"confidence {change}{number(confidence)}")
    satisfied = attributes.get(attr.CRUCIBLE_CONSTRAINT_SATISFIED)
    if satisfied is not None:
        facts.append("satisfied" if satisfied else "violated")
    for key in (attr.CRUCIBLE_CHECKPOINT_SIZE, attr.CRUCIBLE_MODEL_SIZE):
        if isinstance(attributes.get(key), int):
            facts.append(_size(attributes[key]))
    if attributes.get(attr.CRUCIBLE_CHECKPOINT_BEST):
        facts.append("best")
    facts += [*_version_facts(attributes), *comparison(attributes)]
    return facts + _stage_facts(attributes) + _usage_facts(attributes)


def _usage_facts(attributes: Mapping[str, Any]) -> list[str]:
    """Of a call of a language model its tokens and cost; of what calls lie in, how many, and the cost of all."""
    facts = []
    calls = attributes.get(attr.CRUCIBLE_USAGE_TOTAL_CALL_COUNT)
    if isinstance(calls, int):
        facts.append(f"{calls:,} LLM {'call' if calls == 1 else 'calls'}")
        costs = attributes.get(attr.CRUCIBLE_USAGE_TOTAL_COSTS, ())
        facts += [plain(cost, 40) for cost in costs] if isinstance(costs, (tuple, list)) else []
        unknown = attributes.get(attr.CRUCIBLE_USAGE_TOTAL_UNPRICED_COUNT)
        return [*facts, f"{unknown:,} of unknown cost"] if isinstance(unknown, int) and unknown else facts
    for key, way in ((attr.GEN_AI_USAGE_INPUT_TOKENS, "in"), (attr.GEN_AI_USAGE_OUTPUT_TOKENS, "out")):
        if isinstance(attributes.get(key), int):
            facts.append(f"{attributes[key]:,} tokens {way}")
    exact = attributes.get(attr.CRUCIBLE_COST_EXACT)
    if exact is not None:
        facts.append(plain(f"{exact} {attributes.get(attr.CRUCIBLE_COST_CURRENCY, '')}", 40))
    return facts


def comparison(attributes: Mapping[str, Any]) -> list[str]:
    """What an A/B test came to."""
    numbers = ((attr.CRUCIBLE_AB_EFFECT, "effect"), (attr.CRUCIBLE_AB_P_VALUE, "p"))
    said = [f"{word} {number(attributes[key])}" for key, word in numbers if key in attributes]
    winner = attributes.get(attr.CRUCIBLE_AB_WINNER)
    return said + ([] if winner is None else [f"winner {plain(winner, 40)}"])


def _version_facts(attributes: Mapping[str, Any]) -> list[str]:
    """Of a deployment its version, or else that of its model, and where it is; of a saved model its version."""
    operation = attributes.get(attr.CRUCIBLE_OPERATION_NAME)
    if operation not in (operations.DEPLOYMENT, operations.MODEL_SAVE):
        return []
    version = attributes.get(attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION) or attributes.get(attr.CRUCIBLE_MODEL_VERSION)
    words = (("version", version), ("in", attributes.get(attr.DEPLOYMENT_ENVIRONMENT_NAME)))
    return [f"{word} {plain(value, 40)}" for word, value in words if value]


def _process_facts(attributes: Mapping[str, Any]) -> list[str]:
    """Which process of a run it is, and how far it came."""
    facts: list[str] = []
    rank = attributes.get(attr.CRUCIBLE_DISTRIBUTED_RANK)
    if type(rank) is int and attributes.get(attr.CRUCIBLE_OPERATION_NAME) in _PROCESSES:
        facts.append(f"rank {rank}")
    # Where an operation has not ended by itself, the last step says how far it came.
    if str(attributes.get(attr.CRUCIBLE_RUN_STATE)) in _UNENDED and attr.CRUCIBLE_TRAINING_STEP_INDEX in attributes:
        facts.append(f"step {number(attributes[attr.CRUCIBLE_TRAINING_STEP_INDEX])}")
    return facts


def _stage_facts(attributes: Mapping[str, Any]) -> list[str]:
    """Which attempt it is, counted from one as people do; how many items it worked on; whether it was there already."""
    attempt, items = attributes.get(attr.CRUCIBLE_STAGE_ATTEMPT), attributes.get(attr.CRUCIBLE_STAGE_ITEM_COUNT)
    facts = [f"attempt {attempt + 1}"] if type(attempt) is int and attempt > 0 else []
    facts += [f"{items:,} {plural(items, 'item')}"] if type(items) is int else []
    return [*facts, "cached"] if attributes.get(attr.CRUCIBLE_STAGE_CACHED) else facts


def _tuning_facts(attributes: Mapping[str, Any]) -> list[str]:
    """What a trial tries and what it reaches; of a study, the same of its best trial, and how its trials ended."""
    operation = attributes.get(attr.CRUCIBLE_OPERATION_NAME)
    if operation not in (operations.TRIAL, operations.TUNING_STUDY):
        return []
    template = f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}."
    tried = [
        f"{plain(key.removeprefix(template), 40)} {number(value)}"
        for key, value in attributes.items()
        if key.startswith(template)
    ]
    value = attributes.get(attr.CRUCIBLE_TUNING_VALUE)
    best = "best " if operation == operations.TUNING_STUDY else ""
    reached = f"{best}{plain(attributes.get(attr.CRUCIBLE_TUNING_OBJECTIVE) or 'value', 40)} {number(value)}"
    ends = ((attributes.get(key), end) for key, end in _TRIAL_ENDS.items())
    ended = ", ".join(f"{count:,} {end}" for count, end in ends if isinstance(count, int) and count)
    return list(filter(None, ("" if value is None else reached, ", ".join(tried[:_MOST_METRICS]), ended)))


def _learning_facts(attributes: Mapping[str, Any]) -> list[str]:
    """What an episode came to, how a policy changed, what experience was drawn, and who judged how."""
    named = {
        "return": attributes.get(attr.CRUCIBLE_EPISODE_RETURN),
        "kl": attributes.get(attr.CRUCIBLE_POLICY_KL),
        "entropy": attributes.get(attr.CRUCIBLE_POLICY_ENTROPY),
        "mean priority": attributes.get(attr.CRUCIBLE_EXPERIENCE_PRIORITY_MEAN),
        "score": attributes.get(attr.CRUCIBLE_FEEDBACK_SCORE),
    }
    facts = [f"{name} {number(value)}" for name, value in named.items() if value is not None]
    counts = ((attr.CRUCIBLE_EPISODE_LENGTH, "step"), (attr.CRUCIBLE_EXPERIENCE_EPISODE_COUNT, "episode"))
    for key, noun in counts:
        count = attributes.get(key)
        if isinstance(count, int):
            facts.append(f"{count:,} {plural(count, noun)}")
    words = (attributes.get(attr.CRUCIBLE_FEEDBACK_LABEL), attributes.get(attr.CRUCIBLE_FEEDBACK_SOURCE))
    return facts + [plain(word, 40) for word in words if word]


def _problem(attributes: Mapping[str, Any], error: str | None) -> str:
    result = str(attributes.get(attr.CRUCIBLE_OPERATION_RESULT, ""))
    state = str(attributes.get(attr.CRUCIBLE_RUN_STATE, ""))
    is_marker = str(attributes.get(attr.CRUCIBLE_OPERATION_NAME, "")).endswith(f"_{state}")  # its name says it
    words = [] if state in _QUIET_STATES or is_marker else [plain(state)]
    error_type = plain(attributes.get(attr.ERROR_TYPE, ""))
    said = plain(error or "")
    if error is not None:
        told_already = said.startswith(error_type.rpartition(".")[2])
        words = [word for word in words if not said.startswith(word)]
        words.append(": ".join(filter(None, ("" if told_already else error_type, said))) or "error")
    elif result not in _QUIET_RESULTS:
        words.append(f"{plain(result)} ({error_type})" if error_type else plain(result))
    if attributes.get(attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH):
        words.append("the file is not what was saved")
    if attributes.get(attr.CRUCIBLE_CHECKPOINT_CHANGED):
        words.append("the file changed while it was read")
    return ", ".join(words)


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < _BYTES_A_UNIT:
            return f"{value:.3g} {unit}"
        value /= _BYTES_A_UNIT
    return f"{value:.3g} TB"


def _replacement(match: re.Match[str]) -> str:
    character = match.group()
    if character in "\t\n\r\x0b\x0c\u2028\u2029":
        return " "
    return "\ufffd" if unicodedata.category(character) == "Cs" else ""
