"""How an experiment guards against bad answers, and by which tests its results are judged."""

from dataclasses import dataclass
from typing import Annotated

from crucible_trace_otel.plan import feedback as feedback_parts
from crucible_trace_otel.plan.checks import (
    Count,
    Flag,
    Number,
    Numbers,
    Object,
    Positive,
    Share,
    Text,
    Texts,
    each_one_of,
    number,
    one_of,
)
from crucible_trace_otel.plan.part import Part

__all__ = ["Config", "Ensemble", "Fairness", "Guardrail", "Hedging", "Stats"]

_STRATEGIES = ("off", "fixed", "percentile", "adaptive", "workload_aware", "exponential_backoff")
_TESTS = (
    *("ttest", "paired_ttest", "bootstrap", "anova", "wilcoxon"),
    *("mannwhitney", "mann_whitney", "kruskal", "kruskal_wallis"),  # plans and what runs them spell them differently
)


@dataclass(frozen=True, kw_only=True)
class Ensemble(Part):
    """Several models that vote."""

    strategy: Annotated[str | None, one_of("none", "majority", "weighted", "best_confidence", "unanimous")] = "none"
    execution_mode: Annotated[str | None, one_of("parallel", "sequential", "hedged", "cascade")] = "parallel"
    models: Texts = None
    weights: Numbers = None
    min_agreement: Share = None
    timeout_ms: Count = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class Hedging(Part):
    """A second request where the first one takes long."""

    strategy: Annotated[str | None, one_of(*_STRATEGIES)] = "off"
    delay_ms: Count = None
    percentile: Annotated[float | None, number(at_least=0, at_most=100)] = None
    max_hedges: Count = None
    budget_percent: Number = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class Stats(Part):
    """By which tests results are judged."""

    tests: Annotated[tuple[str, ...] | None, each_one_of(*_TESTS)] = ("ttest", "bootstrap")
    alpha: Share = 0.05
    confidence_level: Share = None
    effect_size_type: Text = None
    multiple_testing_correction: Text = None
    bootstrap_iterations: Positive = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class Fairness(Part):
    """Whether groups are treated alike."""

    enabled: Flag = False
    metrics: Texts = None
    group_by: Text = None
    threshold: Number = None
    fail_on_violation: Flag = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class Guardrail(Part):
    """What is looked for in requests and answers."""

    profiles: Texts = ("default",)
    prompt_injection_detection: Flag = None
    jailbreak_detection: Flag = None
    pii_detection: Flag = None
    pii_redaction: Flag = None
    content_moderation: Flag = None
    fail_on_detection: Flag = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class Config(Part):
    """Everything of this file together."""

    ensemble: Ensemble | None = None
    hedging: Hedging | None = None
    guardrails: Guardrail | None = None
    stats: Stats | None = None
    fairness: Fairness | None = None
    monitoring: Object = None
    drift: Object = None
    circuit_breaker: Object = None
    feedback: feedback_parts.Config | None = None
