"""One trace from the first hypothesis to the deployed model, in the tools people already run.

    import crucible_trace_otel as crucible

    crucible.configure(service_name="trainer")

    with crucible.training_run("digits", hyperparameters={"lr": 0.1}) as run:
        for epoch in run.epochs(10):
            epoch.record_step(loss=train())

    print(crucible.render(crucible.open_store().latest(), "tree"))

Importing this loads OpenTelemetry's API only; the SDK is loaded by `configure()`, the readers when they are used.
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
from crucible_trace_otel.record._files import StoredFile
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._policy import AbnormalStep, WindowPolicy
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record.ab_test import ABResult, ABTest, a_b_test
from crucible_trace_otel.record.deployment import Deployment, Inference, deployment, inference
from crucible_trace_otel.record.facts import Dataset, Model
from crucible_trace_otel.record.pipeline import Pipeline, Stage, pipeline, stage
from crucible_trace_otel.record.reasoning import Decision, ReasoningChain, reasoning_chain
from crucible_trace_otel.record.training import Epoch, TrainingRun, training_run
from crucible_trace_otel.record.tuning import Trial, TuningStudy, tuning_study
from crucible_trace_otel.record.validation import ValidationRun

if TYPE_CHECKING:
    from crucible_trace_otel.journal.processor import JournalSpanProcessor
    from crucible_trace_otel.record.history import record_history
    from crucible_trace_otel.renderers import render
    from crucible_trace_otel.sdk import Handle, Report, configure, flush, shutdown
    from crucible_trace_otel.store import open_store
    from crucible_trace_otel.trace.causality import causes
    from crucible_trace_otel.trace.steps import step_rows

__all__ = [
    "ABResult",
    "ABTest",
    "AbnormalStep",
    "ConfigurationError",
    "CrucibleError",
    "Dataset",
    "Decision",
    "Deployment",
    "Epoch",
    "FormatError",
    "Handle",
    "Inference",
    "JournalSpanProcessor",
    "MissingPackageError",
    "Model",
    "NotFoundError",
    "Operation",
    "Pipeline",
    "ReasoningChain",
    "Recorded",
    "Report",
    "Stage",
    "StoreError",
    "StoredFile",
    "TrainingRun",
    "Trial",
    "TuningStudy",
    "ValidationRun",
    "WindowPolicy",
    "__version__",
    "a_b_test",
    "causes",
    "configure",
    "current_operation",
    "deployment",
    "flush",
    "inference",
    "open_store",
    "pipeline",
    "reasoning_chain",
    "record_history",
    "render",
    "shutdown",
    "stage",
    "step_rows",
    "training_run",
    "tuning_study",
]

_LAZY = {
    "causes": "crucible_trace_otel.trace.causality",
    "Handle": "crucible_trace_otel.sdk",
    "JournalSpanProcessor": "crucible_trace_otel.journal.processor",
    "Report": "crucible_trace_otel.sdk",
    "configure": "crucible_trace_otel.sdk",
    "flush": "crucible_trace_otel.sdk",
    "open_store": "crucible_trace_otel.store",
    "record_history": "crucible_trace_otel.record.history",
    "render": "crucible_trace_otel.renderers",
    "shutdown": "crucible_trace_otel.sdk",
    "step_rows": "crucible_trace_otel.trace.steps",
}


def __getattr__(name: str) -> Any:
    """Load what needs the SDK, or reads, when it is first asked for (PEP 562)."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
