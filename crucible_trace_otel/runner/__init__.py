"""Runner: runs the stages of a plan one after the other, and records what became of each.

It knows plans and records by what everybody records by. Where to look:

    running     run_plan -> preparing (all that can be wrong is found before anything starts), stages (their code)
    stages      options (whether a stage takes what the plan tells it)
    results     results (what became of each stage, for who called)
"""

from crucible_trace_otel.runner.results import PlanResult, StageResult
from crucible_trace_otel.runner.running import run_plan
from crucible_trace_otel.runner.stages import RunnableStage

__all__ = ["PlanResult", "RunnableStage", "StageResult", "run_plan"]
