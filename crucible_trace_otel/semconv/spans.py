# GENERATED from semconv/model by `python semconv/generate.py`. Do not edit: change the model and run it again.
"""Operation names, the values of `crucible.operation.name`; a span name begins with one."""

from typing import Final

ALTERNATIVE_REJECTED: Final = "alternative_rejected"
"""An alternative was considered and turned down."""

AMBIGUITY_FLAGGED: Final = "ambiguity_flagged"
"""Something is open to more than one reading."""

A_B_TEST: Final = "a_b_test"
"""Two or more versions are compared in service."""

BARRIER: Final = "barrier"
"""Waiting until every process has come this far."""

CANARY_PROMOTED: Final = "canary_promoted"
"""The canary got more, or all, of the traffic."""

CANARY_REJECTED: Final = "canary_rejected"
"""The canary was not promoted: it gets no more traffic."""

CANARY_STARTED: Final = "canary_started"
"""The canary got its first share of the traffic."""

CHECKPOINT_LOAD: Final = "checkpoint_load"
"""A checkpoint was read."""

CHECKPOINT_SAVE: Final = "checkpoint_save"
"""A checkpoint was written."""

COLLECTIVE: Final = "collective"
"""A collective operation."""

CONFIDENCE_UPDATED: Final = "confidence_updated"
"""The confidence in an earlier decision changed."""

CONSTRAINT_EVALUATED: Final = "constraint_evaluated"
"""A constraint or requirement was checked."""

DEPLOYMENT: Final = "deployment"
"""A model is brought into service."""

DEPLOYMENT_INTERRUPTED: Final = "deployment_interrupted"
"""Zero-length marker: a deployment lost its process before its end."""

DEPLOYMENT_ROLLBACK: Final = "deployment_rollback"
"""The deployment was taken back."""

DEPLOYMENT_STARTED: Final = "deployment_started"
"""Zero-length marker: a deployment has started."""

EPISODE: Final = "episode"
"""One episode of an agent in its environment."""

EPISODE_INTERRUPTED: Final = "episode_interrupted"
"""Zero-length marker: an episode lost its process before its end."""

EPISODE_STARTED: Final = "episode_started"
"""Zero-length marker: an episode has started."""

EPOCH: Final = "epoch"
"""One pass over the training data."""

EPOCH_INTERRUPTED: Final = "epoch_interrupted"
"""Zero-length marker: an epoch lost its process before its end."""

EPOCH_STARTED: Final = "epoch_started"
"""Zero-length marker: an epoch has started."""

EXPERIENCE_SAMPLE: Final = "experience_sample"
"""Experience was drawn from a buffer."""

EXPERIMENT: Final = "experiment"
"""A question, and the work done to answer it."""

EXPERIMENT_INTERRUPTED: Final = "experiment_interrupted"
"""Zero-length marker: an experiment lost its process before its end."""

EXPERIMENT_STARTED: Final = "experiment_started"
"""Zero-length marker: an experiment has started."""

FEEDBACK: Final = "feedback"
"""Somebody or something judged a result."""

HYPERPARAMETER_TUNED: Final = "hyperparameter_tuned"
"""A hyperparameter was changed or chosen."""

HYPOTHESIS_FORMED: Final = "hypothesis_formed"
"""A hypothesis or first approach was formed."""

INFERENCE: Final = "inference"
"""A model was asked for an answer."""

LLM_CALL: Final = "llm_call"
"""A call of a language model that no GenAI instrumentation records.

Where one does, its span counts; of spans with usage that lie in one another only the innermost does.
"""

MODEL_LOAD: Final = "model_load"
"""A model was read for serving."""

MODEL_SAVE: Final = "model_save"
"""A model was written."""

PATTERN_APPLIED: Final = "pattern_applied"
"""A known pattern of design was used."""

PIPELINE: Final = "pipeline"
"""One execution of a pipeline."""

PIPELINE_INTERRUPTED: Final = "pipeline_interrupted"
"""Zero-length marker: a pipeline lost its process before its end."""

PIPELINE_STARTED: Final = "pipeline_started"
"""Zero-length marker: a pipeline has started."""

POLICY_UPDATE: Final = "policy_update"
"""A policy was changed."""

PROGRESS: Final = "progress"
"""A sign of life of a long operation that had no child for a while.

Zero length; a child of the operation's `_started` marker, where viewers fold it.
"""

REASONING_CHAIN: Final = "reasoning_chain"
"""A line of thought: the decisions taken to answer one question."""

REASONING_CHAIN_INTERRUPTED: Final = "reasoning_chain_interrupted"
"""Zero-length marker: a reasoning chain lost its process before its end."""

REASONING_CHAIN_STARTED: Final = "reasoning_chain_started"
"""Zero-length marker: a reasoning chain has started."""

RUN_INDEX: Final = "run_index"
"""The parts of a run that outgrew its trace, named in its first trace."""

RUN_PART: Final = "run_part"
"""What is recorded of a run after a trace of it was full; the root of the next trace.

Linked `continues` to the part before. What it encloses belongs under the operation that
`crucible.run.enclosing_span_id` names.
"""

RUN_PART_INTERRUPTED: Final = "run_part_interrupted"
"""Zero-length marker: a part of a run lost its process before its end."""

RUN_PART_STARTED: Final = "run_part_started"
"""Zero-length marker: a run goes on in another trace."""

SERVING_STARTED: Final = "serving_started"
"""The deployment answers requests."""

STAGE: Final = "stage"
"""One execution of a stage."""

STAGE_INTERRUPTED: Final = "stage_interrupted"
"""Zero-length marker: a stage lost its process before its end."""

STAGE_ITEM: Final = "stage_item"
"""One of the items that a stage works on."""

STAGE_STARTED: Final = "stage_started"
"""Zero-length marker: a stage has started."""

STEP_SEGMENT: Final = "step_segment"
"""A stretch of steps that holds windows, so that no span holds too many events.

Ends after at most 100 windows or after an interval that grows from 30 s to 10 min; it is also the run's heartbeat.
"""

TRAINING_RUN: Final = "training_run"
"""One attempt of a training run."""

TRAINING_RUN_INTERRUPTED: Final = "training_run_interrupted"
"""Zero-length marker: an attempt of a training run lost its process before its end."""

TRAINING_RUN_STARTED: Final = "training_run_started"
"""Zero-length marker: an attempt of a training run has started."""

TRIAL: Final = "trial"
"""One try of a tuning study."""

TRIAL_INTERRUPTED: Final = "trial_interrupted"
"""Zero-length marker: a trial lost its process before its end."""

TRIAL_STARTED: Final = "trial_started"
"""Zero-length marker: a trial has started."""

TUNING_STUDY: Final = "tuning_study"
"""A search for good hyperparameters."""

TUNING_STUDY_INTERRUPTED: Final = "tuning_study_interrupted"
"""Zero-length marker: a tuning study lost its process before its end."""

TUNING_STUDY_STARTED: Final = "tuning_study_started"
"""Zero-length marker: a tuning study has started."""

VALIDATION_RUN: Final = "validation_run"
"""The model was judged on data it does not train on."""

VALIDATION_RUN_INTERRUPTED: Final = "validation_run_interrupted"
"""Zero-length marker: a validation run lost its process before its end."""

VALIDATION_RUN_STARTED: Final = "validation_run_started"
"""Zero-length marker: a validation run has started."""

WORKER: Final = "worker"
"""What one process of a distributed run does; that of rank 0 is the `training_run`, which the others lie below."""

WORKER_INTERRUPTED: Final = "worker_interrupted"
"""Zero-length marker: a worker process lost its process before its end."""

WORKER_STARTED: Final = "worker_started"
"""Zero-length marker: a worker process has started."""
