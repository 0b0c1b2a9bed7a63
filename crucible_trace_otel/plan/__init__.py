"""Plan: what an experiment is to do, as the crucible_ir JSON has it, read and written without loss.

Values only: nothing here records, and nothing that records is loaded by it. Where to look:

    the mechanism   part (reading, writing, checking) -> checks (what a field may hold), loading (strict JSON), paths
                    canonical (RFC 8785, for the hash); order (which stage comes after which)
    the parts       experiment: Experiment, StageDef; refs: BackendRef, DatasetRef, OutputSpec, ModelRef, ModelVersion
                    training: Config, Run; deployment: Config, Status; feedback: Config, Event
                    reliability: Config, Ensemble, Hedging, Stats, Fairness, Guardrail
                    backend: Prompt, Message, Options, Completion, Choice, Capabilities
"""

import os
from collections.abc import Mapping
from typing import Any

from crucible_trace_otel.plan import backend, deployment, feedback, reliability, training
from crucible_trace_otel.plan.experiment import Experiment, StageDef
from crucible_trace_otel.plan.part import Part
from crucible_trace_otel.plan.paths import Problem
from crucible_trace_otel.plan.refs import BackendRef, DatasetRef, ModelRef, ModelVersion, OutputSpec

__all__ = [
    "BackendRef",
    "DatasetRef",
    "Experiment",
    "ModelRef",
    "ModelVersion",
    "OutputSpec",
    "Part",
    "Problem",
    "StageDef",
    "backend",
    "deployment",
    "feedback",
    "read_plan",
    "reliability",
    "training",
]


def read_plan(source: str | bytes | os.PathLike[str] | Mapping[str, Any]) -> Experiment:
    """Read the plan of an experiment: see `Part.from_json`.

    Args:
        source: The path of a file, JSON text (it begins with `{`), or what `json.loads` gave.

    Raises:
        ConfigurationError: The file cannot be read.
        FormatError: It is no JSON object, or holds something else where an object or a list has to be.
    """
    return Experiment.from_json(source)
