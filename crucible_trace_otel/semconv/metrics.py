# GENERATED from semconv/model by `python semconv/generate.py`. Do not edit: change the model and run it again.
"""Metric names."""

from typing import Final

CRUCIBLE_CHECKPOINT_DURATION: Final = "crucible.checkpoint.duration"
"""Duration of writing and reading checkpoints."""

CRUCIBLE_CHECKPOINT_IO: Final = "crucible.checkpoint.io"
"""Bytes of checkpoints written and read."""

CRUCIBLE_COST: Final = "crucible.cost"
"""What was spent, one series for each currency."""

CRUCIBLE_EPISODE_RETURN: Final = "crucible.episode.return"
"""Returns of episodes."""

CRUCIBLE_FEEDBACK_SCORE: Final = "crucible.feedback.score"
"""Scores given as feedback."""

CRUCIBLE_INFERENCE_DURATION: Final = "crucible.inference.duration"
"""Duration of the inferences that are recorded.

Where not all are recorded, each series has the ratio: its count divided by it is what it stands for. Of those that
fail all are recorded, so that their ratio is 1.
"""

CRUCIBLE_LLM_CALL_DURATION: Final = "crucible.llm.call.duration"
"""Duration of calls of a language model.

Only for calls that no GenAI instrumentation measures; its own metrics stand, and nothing is counted twice.
"""

CRUCIBLE_LLM_CALL_TIME_TO_FIRST_TOKEN: Final = "crucible.llm.call.time_to_first_token"
"""Time from the request to the first token of the answer.

Only for calls that no GenAI instrumentation measures; its own metrics stand, and nothing is counted twice.
"""

CRUCIBLE_LLM_CALL_TOKENS: Final = "crucible.llm.call.tokens"
"""Tokens used in calls of a language model.

Only for calls that no GenAI instrumentation measures; its own metrics stand, and nothing is counted twice.
"""

CRUCIBLE_RECORDER_RECORDS: Final = "crucible.recorder.records"
"""Records, by what became of them."""

CRUCIBLE_REWARD: Final = "crucible.reward"
"""Latest reward."""

CRUCIBLE_SHIP_BACKLOG: Final = "crucible.ship.backlog"
"""Bytes in the journal that wait to be sent."""

CRUCIBLE_STAGE_DURATION: Final = "crucible.stage.duration"
"""Duration of stages."""

CRUCIBLE_TRAINING_ABNORMAL_STEPS: Final = "crucible.training.abnormal_steps"
"""Steps that were abnormal."""

CRUCIBLE_TRAINING_EPOCH_DURATION: Final = "crucible.training.epoch.duration"
"""Duration of epochs."""

CRUCIBLE_TRAINING_GRADIENT_NORM: Final = "crucible.training.gradient.norm"
"""Norm of the latest gradient."""

CRUCIBLE_TRAINING_LEARNING_RATE: Final = "crucible.training.learning_rate"
"""Learning rate of the latest step."""

CRUCIBLE_TRAINING_LOSS: Final = "crucible.training.loss"
"""Loss of the latest step."""

CRUCIBLE_TRAINING_METRIC: Final = "crucible.training.metric"
"""Latest value of a metric of the user's."""

CRUCIBLE_TRAINING_RUN_DURATION: Final = "crucible.training.run.duration"
"""Duration of attempts of training runs."""

CRUCIBLE_TRAINING_SAMPLES: Final = "crucible.training.samples"
"""Samples used."""

CRUCIBLE_TRAINING_STEPS: Final = "crucible.training.steps"
"""Optimizer steps done."""

CRUCIBLE_TRAINING_STEP_DURATION: Final = "crucible.training.step.duration"
"""Duration of optimizer steps."""

CRUCIBLE_TRAINING_TOKENS: Final = "crucible.training.tokens"
"""Tokens used in training."""
