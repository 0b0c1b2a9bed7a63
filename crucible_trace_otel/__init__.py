"""One trace from the first hypothesis to the deployed model, in the tools people already run.

    import crucible_trace_otel as crucible

    crucible.configure(service_name="trainer")

    with crucible.training_run("digits", hyperparameters={"lr": 0.1}) as run:
        for epoch in run.epochs(10):
            epoch.record_step(loss=train())

    print(crucible.render(crucible.open_store().latest(), "tree"))

Importing this loads OpenTelemetry's API only; the SDK is loaded by `configure()`, the readers, and what few programs
use, when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crucible_trace_otel._version import __version__
from crucible_trace_otel.errors import (
    ConfigurationError,
    CrucibleError,
    FormatError,
    MissingPackageError,
    NotFoundError,
    StoreError,
)
from crucible_trace_otel.record._context import current_operation
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record.distributed import Barrier, Collective, barrier, collective
from crucible_trace_otel.record.facts import Dataset, Model
from crucible_trace_otel.record.files._files import StoredFile
from crucible_trace_otel.record.pipeline import Pipeline, Stage, pipeline, stage
from crucible_trace_otel.record.processes._launchers import ProcessRank
from crucible_trace_otel.record.reasoning import Decision, ReasoningChain, reasoning_chain
from crucible_trace_otel.record.reinforcement import Episode, PolicyUpdate, episode
from crucible_trace_otel.record.stages._attempts import Attempt, Attempts
from crucible_trace_otel.record.steps._policy import AbnormalStep, WindowPolicy
from crucible_trace_otel.record.training import Epoch, TrainingRun, training_run
from crucible_trace_otel.record.tuning import Trial, TuningStudy, tuning_study
from crucible_trace_otel.record.validation import ValidationRun

if TYPE_CHECKING:
    from crucible_trace_otel.journal.processor import JournalSpanProcessor
    from crucible_trace_otel.plan import read_plan
    from crucible_trace_otel.prices import Price, PriceTable
    from crucible_trace_otel.record.ab_test import ABResult, ABTest, a_b_test
    from crucible_trace_otel.record.deployment import Deployment, Inference, deployment, inference
    from crucible_trace_otel.record.experiment import Experiment, experiment
    from crucible_trace_otel.record.feedback import (
        FeedbackTarget,
        feedback_token,
        read_feedback_token,
        record_evaluation,
        record_feedback,
    )
    from crucible_trace_otel.record.history import record_history
    from crucible_trace_otel.record.llm import LlmCall, llm_call, record_llm_call
    from crucible_trace_otel.record.propagation import child_environment, in_context
    from crucible_trace_otel.renderers import render
    from crucible_trace_otel.runner import PlanResult, RunnableStage, StageResult, run_plan
    from crucible_trace_otel.sdk import Handle, Report, configure, flush, shutdown
    from crucible_trace_otel.store import open_store
    from crucible_trace_otel.tokens import TokenUsage
    from crucible_trace_otel.trace.causality import causes
    from crucible_trace_otel.trace.lineage import lineage
    from crucible_trace_otel.trace.plans import planned_stages
    from crucible_trace_otel.trace.steps import step_rows
    from crucible_trace_otel.trace.stragglers import stragglers
    from crucible_trace_otel.trace.usage import usage

__all__ = [
    "ABResult",
    "ABTest",
    "AbnormalStep",
    "Attempt",
    "Attempts",
    "Barrier",
    "Collective",
    "ConfigurationError",
    "CrucibleError",
    "Dataset",
    "Decision",
    "Deployment",
    "Episode",
    "Epoch",
    "Experiment",
    "FeedbackTarget",
    "FormatError",
    "Handle",
    "Inference",
    "JournalSpanProcessor",
    "LlmCall",
    "MissingPackageError",
    "Model",
    "NotFoundError",
    "Operation",
    "Pipeline",
    "PlanResult",
    "PolicyUpdate",
    "Price",
    "PriceTable",
    "ProcessRank",
    "ReasoningChain",
    "Recorded",
    "Report",
    "RunnableStage",
    "Stage",
    "StageResult",
    "StoreError",
    "StoredFile",
    "TokenUsage",
    "TrainingRun",
    "Trial",
    "TuningStudy",
    "ValidationRun",
    "WindowPolicy",
    "__version__",
    "a_b_test",
    "barrier",
    "causes",
    "child_environment",
    "collective",
    "configure",
    "current_operation",
    "deployment",
    "episode",
    "experiment",
    "feedback_token",
    "flush",
    "in_context",
    "inference",
    "lineage",
    "llm_call",
    "open_store",
    "pipeline",
    "planned_stages",
    "read_feedback_token",
    "read_plan",
    "reasoning_chain",
    "record_evaluation",
    "record_feedback",
    "record_history",
    "record_llm_call",
    "render",
    "run_plan",
    "shutdown",
    "stage",
    "step_rows",
    "stragglers",
    "training_run",
    "tuning_study",
    "usage",
]

_LAZY = {
    "ABResult": "crucible_trace_otel.record.ab_test",
    "ABTest": "crucible_trace_otel.record.ab_test",
    "Deployment": "crucible_trace_otel.record.deployment",
    "Experiment": "crucible_trace_otel.record.experiment",
    "FeedbackTarget": "crucible_trace_otel.record.feedback",
    "Handle": "crucible_trace_otel.sdk",
    "Inference": "crucible_trace_otel.record.deployment",
    "JournalSpanProcessor": "crucible_trace_otel.journal.processor",
    "LlmCall": "crucible_trace_otel.record.llm",
    "PlanResult": "crucible_trace_otel.runner",
    "Price": "crucible_trace_otel.prices",
    "PriceTable": "crucible_trace_otel.prices",
    "Report": "crucible_trace_otel.sdk",
    "RunnableStage": "crucible_trace_otel.runner",
    "StageResult": "crucible_trace_otel.runner",
    "TokenUsage": "crucible_trace_otel.tokens",
    "a_b_test": "crucible_trace_otel.record.ab_test",
    "causes": "crucible_trace_otel.trace.causality",
    "child_environment": "crucible_trace_otel.record.propagation",
    "configure": "crucible_trace_otel.sdk",
    "deployment": "crucible_trace_otel.record.deployment",
    "experiment": "crucible_trace_otel.record.experiment",
    "feedback_token": "crucible_trace_otel.record.feedback",
    "flush": "crucible_trace_otel.sdk",
    "in_context": "crucible_trace_otel.record.propagation",
    "inference": "crucible_trace_otel.record.deployment",
    "lineage": "crucible_trace_otel.trace.lineage",
    "llm_call": "crucible_trace_otel.record.llm",
    "open_store": "crucible_trace_otel.store",
    "planned_stages": "crucible_trace_otel.trace.plans",
    "read_feedback_token": "crucible_trace_otel.record.feedback",
    "read_plan": "crucible_trace_otel.plan",
    "record_evaluation": "crucible_trace_otel.record.feedback",
    "record_feedback": "crucible_trace_otel.record.feedback",
    "record_history": "crucible_trace_otel.record.history",
    "record_llm_call": "crucible_trace_otel.record.llm",
    "render": "crucible_trace_otel.renderers",
    "run_plan": "crucible_trace_otel.runner",
    "shutdown": "crucible_trace_otel.sdk",
    "step_rows": "crucible_trace_otel.trace.steps",
    "stragglers": "crucible_trace_otel.trace.stragglers",
    "usage": "crucible_trace_otel.trace.usage",
}


def __getattr__(name: str) -> Any:
    """Load what needs the SDK, what reads, and what few programs use, when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
