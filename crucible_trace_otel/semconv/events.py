# GENERATED from semconv/model by `python semconv/generate.py`. Do not edit: change the model and run it again.
"""Event names."""

from typing import Final

ALTERNATIVE_CONSIDERED: Final = "alternative_considered"
"""An alternative was looked at, without a verdict."""

ALTERNATIVE_REJECTED: Final = "alternative_rejected"
"""An alternative was considered and turned down.

The event form is met on import of traces written by others; this package records a short span.
"""

AMBIGUITY_FLAGGED: Final = "ambiguity_flagged"
"""Something is open to more than one reading.

The event form is met on import of traces written by others; this package records a short span.
"""

ARTIFACT_CONSUMED: Final = "artifact_consumed"
"""A file, model or data set was used."""

ARTIFACT_PRODUCED: Final = "artifact_produced"
"""A file, model or data set was made."""

A_B_TEST_RESULT: Final = "a_b_test_result"
"""A comparison in service has a result."""

BARRIER_REACHED: Final = "barrier_reached"
"""Every process has come this far."""

BATCH_PROCESSED: Final = "batch_processed"
"""A window of processed batches was closed, or a single batch was met on import.

In a window the columns are `batch.index`, `batch.size`, `loss` and what else was given.
"""

CANARY_PROMOTED: Final = "canary_promoted"
"""The canary got more, or all, of the traffic.

The event form is met on import of traces written by others; this package records a short span.
"""

CHECKPOINT_DELETED: Final = "checkpoint_deleted"
"""A checkpoint was removed."""

CHECKPOINT_LOADED: Final = "checkpoint_loaded"
"""A checkpoint was read."""

CHECKPOINT_SAVED: Final = "checkpoint_saved"
"""A checkpoint was written."""

CONFIDENCE_UPDATED: Final = "confidence_updated"
"""The confidence in an earlier decision changed.

The event form is met on import of traces written by others; this package records a short span.
"""

CONSTRAINT_EVALUATED: Final = "constraint_evaluated"
"""A constraint or requirement was checked.

The event form is met on import of traces written by others; this package records a short span.
"""

DECISION_MADE: Final = "decision_made"
"""A decision of a kind that the source did not name."""

DEPLOYMENT_COMPLETED: Final = "deployment_completed"
"""A deployment ended."""

DEPLOYMENT_FAILED: Final = "deployment_failed"
"""A deployment ended with an error."""

DEPLOYMENT_INITIATED: Final = "deployment_initiated"
"""A deployment started."""

DEPLOYMENT_ROLLBACK: Final = "deployment_rollback"
"""The deployment was taken back.

The event form is met on import of traces written by others; this package records a short span.
"""

DEPLOYMENT_STARTED: Final = "deployment_started"
"""A deployment started, under its older name.

Deprecated: Use `deployment_initiated`.
"""

EARLY_STOPPED: Final = "early_stopped"
"""Training stopped before its planned end because it no longer improved."""

EPOCH_COMPLETED: Final = "epoch_completed"
"""An epoch ended."""

EPOCH_STARTED: Final = "epoch_started"
"""An epoch started."""

EXPERIENCE_SAMPLED: Final = "experience_sampled"
"""Experience was drawn from a buffer."""

FEEDBACK_RECEIVED: Final = "feedback_received"
"""Somebody or something judged a result."""

GEN_AI_EVALUATION_RESULT: Final = "gen_ai.evaluation.result"
"""What a model or a program answered was judged, by a model, a program or a person."""

GRADIENTS_AGGREGATED: Final = "gradients_aggregated"
"""A window of gradients that were put together across processes was closed, or a single one was met on import.

In a window the columns are `norm`, `size`, `wait` (seconds), `participants` and what else was given.
"""

GRADIENT_COMPUTED: Final = "gradient_computed"
"""A window of recorded gradients was closed, or a single gradient was met on import."""

HYPERPARAMETER_TUNED: Final = "hyperparameter_tuned"
"""A hyperparameter was changed or chosen.

The event form is met on import of traces written by others; this package records a short span.
"""

HYPOTHESIS_FORMED: Final = "hypothesis_formed"
"""A hypothesis or first approach was formed.

The event form is met on import of traces written by others; this package records a short span.
"""

INFERENCE_COMPLETED: Final = "inference_completed"
"""An inference ended."""

LOSS_COMPUTED: Final = "loss_computed"
"""A window of computed losses was closed, or a single loss was met on import.

In a window the column is `loss`, or `loss.<kind>` where the kind was given.
"""

METRIC_RECORDED: Final = "metric_recorded"
"""A window of the user's metrics was closed, or some were met on import.

In a window the columns are the names of the metrics.
"""

MODEL_LOADED: Final = "model_loaded"
"""A model was read for serving."""

MODEL_SAVED: Final = "model_saved"
"""A model was written."""

ONLINE_UPDATE_APPLIED: Final = "online_update_applied"
"""A serving model was changed by what it met in service."""

PATTERN_APPLIED: Final = "pattern_applied"
"""A known pattern of design was used.

The event form is met on import of traces written by others; this package records a short span.
"""

POLICY_UPDATED: Final = "policy_updated"
"""A policy was changed."""

RECORDED_LATE: Final = "recorded_late"
"""An event, attributes or links came after the end of the operation they belong to."""

REWARD_RECEIVED: Final = "reward_received"
"""A window of received rewards was closed, or a single reward was met on import.

In a window the columns are `reward` and what else was given; its steps are those of the episode, from 0.
"""

SERVING_STARTED: Final = "serving_started"
"""The deployment answers requests.

The event form is met on import of traces written by others; this package records a short span.
"""

STAGE_COMPLETE: Final = "stage_complete"
"""A stage ended, under the name that another recorder uses."""

STAGE_COMPLETED: Final = "stage_completed"
"""A stage ended."""

STAGE_FAILED: Final = "stage_failed"
"""A stage ended with an error."""

STAGE_RETRIED: Final = "stage_retried"
"""A stage is tried again."""

STAGE_SKIPPED: Final = "stage_skipped"
"""A stage was not run, on purpose."""

STAGE_START: Final = "stage_start"
"""A stage started, under the name that another recorder uses."""

STAGE_STARTED: Final = "stage_started"
"""A stage started."""

STEPS_RECORDED: Final = "steps_recorded"
"""A window of recorded steps was closed."""

STEP_ABNORMAL: Final = "step_abnormal"
"""A step was abnormal."""

STRAGGLER_DETECTED: Final = "straggler_detected"
"""A process is much slower than the others.

Rank and node are those of the slow process, whichever process says so.
"""

TRAINING_COMPLETED: Final = "training_completed"
"""A training run ended."""

TRAINING_RESUMED: Final = "training_resumed"
"""Training went on from an earlier attempt or a checkpoint."""

TRAINING_STARTED: Final = "training_started"
"""A training run started."""

VALIDATION_RUN: Final = "validation_run"
"""The model was judged on data it does not train on."""

WORKER_JOINED: Final = "worker_joined"
"""A process joined the run."""

WORKER_LEFT: Final = "worker_left"
"""A process left the run."""
