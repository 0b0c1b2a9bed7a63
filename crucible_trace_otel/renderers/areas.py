"""Which part of machine learning work an operation belongs to, and the colours it is drawn in."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from crucible_trace_otel.semconv import spans as op

__all__ = ["COLOURS", "OTHER", "area_of"]

OTHER: Final = "other"
"""Spans of other instrumentations."""

# Fill and line; the six decisions keep the colours that the Elixir library gave them.
COLOURS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "reasoning": ("#ede7f6", "#4527a0"),
        "hypothesis": ("#e8f5e9", "#2e7d32"),
        "rejected": ("#ffebee", "#c62828"),
        "constraint": ("#fff3e0", "#ef6c00"),
        "pattern": ("#e3f2fd", "#1565c0"),
        "ambiguity": ("#fff9c4", "#f57f17"),
        "confidence": ("#f3e5f5", "#6a1b9a"),
        "training": ("#e0f2f1", "#00695c"),
        "pipeline": ("#eceff1", "#37474f"),
        "deployment": ("#e1f5fe", "#0277bd"),
        "feedback": ("#fce4ec", "#ad1457"),
        "distributed": ("#f1f8e9", "#558b2f"),
        "experiment": ("#fffde7", "#9e9d24"),
        "life": ("#fafafa", "#757575"),
        OTHER: ("#ffffff", "#9e9e9e"),
    }
)

_AREAS: Final = {
    op.REASONING_CHAIN: "reasoning",
    op.LLM_CALL: "reasoning",
    op.HYPOTHESIS_FORMED: "hypothesis",
    op.ALTERNATIVE_REJECTED: "rejected",
    op.CONSTRAINT_EVALUATED: "constraint",
    op.PATTERN_APPLIED: "pattern",
    op.AMBIGUITY_FLAGGED: "ambiguity",
    op.CONFIDENCE_UPDATED: "confidence",
    op.TRAINING_RUN: "training",
    op.EPOCH: "training",
    op.STEP_SEGMENT: "training",
    op.VALIDATION_RUN: "training",
    op.CHECKPOINT_SAVE: "training",
    op.CHECKPOINT_LOAD: "training",
    op.MODEL_SAVE: "training",
    op.HYPERPARAMETER_TUNED: "training",
    op.TUNING_STUDY: "training",
    op.TRIAL: "training",
    op.PIPELINE: "pipeline",
    op.STAGE: "pipeline",
    op.STAGE_ITEM: "pipeline",
    op.DEPLOYMENT: "deployment",
    op.MODEL_LOAD: "deployment",
    op.INFERENCE: "deployment",
    op.A_B_TEST: "deployment",
    op.SERVING_STARTED: "deployment",
    op.CANARY_STARTED: "deployment",
    op.CANARY_PROMOTED: "deployment",
    op.CANARY_REJECTED: "deployment",
    op.DEPLOYMENT_ROLLBACK: "deployment",
    op.EPISODE: "feedback",
    op.POLICY_UPDATE: "feedback",
    op.EXPERIENCE_SAMPLE: "feedback",
    op.FEEDBACK: "feedback",
    op.WORKER: "distributed",
    op.COLLECTIVE: "distributed",
    op.BARRIER: "distributed",
    op.EXPERIMENT: "experiment",
    op.PROGRESS: "life",
    op.RUN_INDEX: "life",
    op.RUN_PART: "life",
}
_MARKERS: Final = ("_started", "_interrupted")


def area_of(operation: str) -> str:
    """The area of the convention's `operation`; `other` for a name that is not the convention's."""
    for marker in _MARKERS:
        if operation.removesuffix(marker) in _AREAS and operation.endswith(marker):
            return "life"
    return _AREAS.get(operation, OTHER)
