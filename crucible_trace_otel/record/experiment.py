"""Experiments: a question, a plan perhaps, and the work done to answer it.

with crucible.experiment("which model reads the digits", hypothesis="a linear one is enough") as experiment:
    with crucible.pipeline("digits"):
        ...
    experiment.set_verdict("a linear model is enough")
"""

from collections.abc import Sequence
from typing import Any, Protocol

from crucible_trace_otel.errors import FormatError, warn_once
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans

__all__ = ["Experiment", "experiment"]


class Plan(Protocol):
    """What is recorded of a plan; `crucible.read_plan()` reads one."""

    @property
    def id(self) -> str:
        """Identifier of the experiment."""

    @property
    def stage_names(self) -> Sequence[str]:
        """The names of its stages, in order."""

    @property
    def sha256(self) -> str:
        """Its SHA-256, hexadecimal."""


class Experiment(Operation):
    """A question, and the work done to answer it. Everything recorded inside it carries its id."""

    operation_name = spans.EXPERIMENT

    def __init__(
        self,
        subject: "str | Plan",
        *,
        id: str | None = None,  # noqa: A002 - the convention's word
        hypothesis: str | None = None,
        condition: str | None = None,
        version: str | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        name, planned = _named_by(subject)
        self._named = id or (name if planned else None)
        attributes = {
            attr.CRUCIBLE_EXPERIMENT_NAME: name,
            attr.CRUCIBLE_EXPERIMENT_HYPOTHESIS: hypothesis,
            attr.CRUCIBLE_EXPERIMENT_CONDITION: condition,
            attr.CRUCIBLE_EXPERIMENT_PLAN_VERSION: version,
            **planned,
        }
        super().__init__(name, attributes=attributes, depends_on=depends_on, links=links)

    def _prepare(self) -> None:
        super()._prepare()
        self.verdict = ""
        """What came of it, where somebody has said so."""

    @property
    def id(self) -> str:
        """Names the experiment in all its runs; without a name of yours its event id, known once it has started."""
        return printable(self._named) if self._named else self.event_id

    def _on_start(self) -> dict[str, Any]:
        """What is recorded inside it, in whatever thread or task, carries its id."""
        self._inherits = {attr.CRUCIBLE_EXPERIMENT_ID: self.id}
        return {}

    @guarded(nothing)
    def set_verdict(self, verdict: str) -> None:
        """Say what came of the experiment.

        Args:
            verdict: One sentence.
        """
        if is_kept(self):
            self.verdict = printable(verdict)
            self.set({attr.CRUCIBLE_RUN_VERDICT: self.verdict})


@forgiving
def experiment(
    name_or_plan: "str | Plan",
    *,
    id: str | None = None,  # noqa: A002 - the convention's word
    hypothesis: str | None = None,
    condition: str | None = None,
    version: str | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Experiment:
    """An experiment, to be used in `with`, as a decorator, or by `start()` and `stop()`.

    Args:
        name_or_plan: What it is called, or the plan that `crucible.read_plan()` read: its id is then the name and the
            id, and its hash and the names of its stages are recorded.
        id: Names the experiment in all its runs; made up when not given.
        hypothesis: What it is to find out.
        condition: Which of its conditions this run belongs to: `baseline`.
        version: Of the plan.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return Experiment(
        name_or_plan,
        id=id,
        hypothesis=hypothesis,
        condition=condition,
        version=version,
        depends_on=depends_on,
        links=links,
    )


def _as_name(subject: Any) -> tuple[Any, dict[str, Any]]:
    return printable(subject), {}


@guarded(_as_name)
def _named_by(subject: Any) -> tuple[Any, dict[str, Any]]:
    """Its name, and what the plan says where it is one."""
    if isinstance(subject, str) or not hasattr(subject, "stage_names"):
        return _as_name(subject)
    return subject.id, {
        attr.CRUCIBLE_EXPERIMENT_PLAN_SHA256: _digest_of(subject),
        attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES: tuple(subject.stage_names),
    }


def _no_digest(_: Plan) -> str | None:
    return None


@guarded(_no_digest)
def _digest_of(plan: Plan) -> str | None:
    """Its hash; none where it holds what no JSON can."""
    try:
        return plan.sha256
    except FormatError as error:
        warn_once(f"plan {error}", f"The plan {printable(plan.id)!r} is recorded without its hash: {error}")
        return None
