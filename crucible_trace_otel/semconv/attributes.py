# GENERATED from semconv/model by `python semconv/generate.py`. Do not edit: change the model and run it again.
"""Attribute keys. A `_TEMPLATE` is followed by a dot and the user's own name."""

from typing import Final

CODE_FILE_PATH: Final = "code.file.path"
"""Path of the source file."""

CODE_FUNCTION_NAME: Final = "code.function.name"
"""Fully qualified name of the function."""

CODE_LINE_NUMBER: Final = "code.line.number"
"""Line in the source file."""

CRUCIBLE_ABNORMAL_COLUMN: Final = "crucible.abnormal.column"
"""Which recorded number was abnormal."""

CRUCIBLE_ABNORMAL_COUNT: Final = "crucible.abnormal.count"
"""How many abnormal steps there were, those without an event of their own included."""

CRUCIBLE_ABNORMAL_EXPECTED: Final = "crucible.abnormal.expected"
"""What the recent steps led to expect.

The mean for a spike, the median duration in seconds for a slow step.
"""

CRUCIBLE_ABNORMAL_KIND: Final = "crucible.abnormal.kind"
"""What was abnormal about a step."""

CRUCIBLE_ABNORMAL_REASON: Final = "crucible.abnormal.reason"
"""Why the step was skipped, in the user's words."""

CRUCIBLE_ABNORMAL_VALUE: Final = "crucible.abnormal.value"
"""The abnormal value."""

CRUCIBLE_ABOUT: Final = "crucible.about"
"""One line of at most 120 characters that says what happened, for people who look at a viewer."""

CRUCIBLE_AB_ARMS: Final = "crucible.ab.arms"
"""Names of the compared arms, the control first."""

CRUCIBLE_AB_CONFIDENCE_LEVEL: Final = "crucible.ab.confidence.level"
"""Confidence level of the interval, from 0 to 1; the winner is told at one minus it."""

CRUCIBLE_AB_EFFECT: Final = "crucible.ab.effect"
"""Estimated effect: mean of the candidate minus mean of the control.

Its sign says nothing of good or bad: of a duration a positive effect is a slowdown. See
`crucible.ab.higher_is_better` and `crucible.ab.improvement`.
"""

CRUCIBLE_AB_HIGHER_IS_BETTER: Final = "crucible.ab.higher_is_better"
"""Whether a higher mean is the better one; absent where nobody has said so."""

CRUCIBLE_AB_IMPROVEMENT: Final = "crucible.ab.improvement"
"""How much better the candidate is: the effect, its sign turned where lower is better.

Negative where the candidate is worse. Absent where nobody has said which direction is better.
"""

CRUCIBLE_AB_INTERVAL: Final = "crucible.ab.interval"
"""Lower and upper bound of the confidence interval of the effect."""

CRUCIBLE_AB_MEANS: Final = "crucible.ab.means"
"""Mean of each arm, parallel to `crucible.ab.arms`."""

CRUCIBLE_AB_METRIC: Final = "crucible.ab.metric"
"""What is compared."""

CRUCIBLE_AB_P_VALUE: Final = "crucible.ab.p_value"
"""Probability of an effect at least this large if there were none."""

CRUCIBLE_AB_SAMPLE_COUNTS: Final = "crucible.ab.sample.counts"
"""Observations of each arm, parallel to `crucible.ab.arms`."""

CRUCIBLE_AB_TEST: Final = "crucible.ab.test"
"""Statistical test that was used."""

CRUCIBLE_AB_WINNER: Final = "crucible.ab.winner"
"""Arm that won; absent while undecided."""

CRUCIBLE_AMBIGUITY_RESOLUTION: Final = "crucible.ambiguity.resolution"
"""How the ambiguity was resolved; absent while it is open."""

CRUCIBLE_ARTIFACT_NAME: Final = "crucible.artifact.name"
"""Name of what was made or used, where it has no path."""

CRUCIBLE_ARTIFACT_PATH: Final = "crucible.artifact.path"
"""Where what was made or used lies."""

CRUCIBLE_ARTIFACT_SHA256: Final = "crucible.artifact.sha256"
"""SHA-256 of what was made or used, of a directory that of its manifest, hexadecimal."""

CRUCIBLE_ARTIFACT_SIZE: Final = "crucible.artifact.size"
"""Size of what was made or used, in bytes."""

CRUCIBLE_CHAIN_DESCRIPTION: Final = "crucible.chain.description"
"""What the chain is about, at length."""

CRUCIBLE_CHAIN_ID: Final = "crucible.chain.id"
"""Identifier of a reasoning chain."""

CRUCIBLE_CHAIN_NAME: Final = "crucible.chain.name"
"""Name of a reasoning chain: the question it answers."""

CRUCIBLE_CHECKPOINT_BEST: Final = "crucible.checkpoint.best"
"""Whether it is the best checkpoint so far."""

CRUCIBLE_CHECKPOINT_CHANGED: Final = "crucible.checkpoint.changed"
"""True when the file changed before or while it was digested, so that no digest is given."""

CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH: Final = "crucible.checkpoint.digest_mismatch"
"""True when the loaded file does not have the digest it was saved with."""

CRUCIBLE_CHECKPOINT_EPOCH: Final = "crucible.checkpoint.epoch"
"""Index of the epoch that the checkpoint was taken in."""

CRUCIBLE_CHECKPOINT_FORMAT: Final = "crucible.checkpoint.format"
"""Format of the checkpoint."""

CRUCIBLE_CHECKPOINT_METRIC_TEMPLATE: Final = "crucible.checkpoint.metric"
"""A metric of the user's at the time of the checkpoint, one attribute for each name."""

CRUCIBLE_CHECKPOINT_PATH: Final = "crucible.checkpoint.path"
"""Where the checkpoint lies."""

CRUCIBLE_CHECKPOINT_SHA256: Final = "crucible.checkpoint.sha256"
"""SHA-256 of the checkpoint file, or of the manifest of a directory, hexadecimal."""

CRUCIBLE_CHECKPOINT_SIZE: Final = "crucible.checkpoint.size"
"""Size of the checkpoint, in bytes."""

CRUCIBLE_CHECKPOINT_STEP: Final = "crucible.checkpoint.step"
"""Index of the step that the checkpoint was taken after."""

CRUCIBLE_CLOCK_OFFSET: Final = "crucible.clock.offset"
"""By how much this machine's clock is ahead of rank 0's, in seconds."""

CRUCIBLE_CODE_CHANGED: Final = "crucible.code.changed"
"""Whether tracked files differed from `vcs.ref.head.revision` when the program started."""

CRUCIBLE_COLLECTIVE_NAME: Final = "crucible.collective.name"
"""Which collective operation it is."""

CRUCIBLE_COLLECTIVE_PARTICIPANT_COUNT: Final = "crucible.collective.participant.count"
"""How many processes take part."""

CRUCIBLE_COLLECTIVE_SEQUENCE: Final = "crucible.collective.sequence"
"""Which collective of its name this is in the process's run, from 0: the same number on every rank.

Counted by each process for itself; it joins the spans of one collective across processes.
"""

CRUCIBLE_COLLECTIVE_SIZE: Final = "crucible.collective.size"
"""How many bytes one participant contributes."""

CRUCIBLE_COLLECTIVE_WAIT: Final = "crucible.collective.wait"
"""How long the process waited for the others, in seconds."""

CRUCIBLE_CONSTRAINT_SATISFIED: Final = "crucible.constraint.satisfied"
"""Whether the constraint holds."""

CRUCIBLE_COST_AMOUNT: Final = "crucible.cost.amount"
"""What it cost, in the currency of `crucible.cost.currency`."""

CRUCIBLE_COST_CURRENCY: Final = "crucible.cost.currency"
"""Currency of the cost, as in ISO 4217."""

CRUCIBLE_COST_EXACT: Final = "crucible.cost.exact"
"""The same amount in decimal digits; sums of these are exact."""

CRUCIBLE_COST_PRICE_TABLE_VERSION: Final = "crucible.cost.price_table.version"
"""Version of the price table that the cost was computed with."""

CRUCIBLE_COST_UNKNOWN_COUNT: Final = "crucible.cost.unknown.count"
"""1 on a call whose cost is not known, 0 on one whose cost is."""

CRUCIBLE_DATASET_NAME: Final = "crucible.dataset.name"
"""Name of the data set."""

CRUCIBLE_DATASET_ROWS: Final = "crucible.dataset.rows"
"""How many rows the data set has."""

CRUCIBLE_DATASET_SHA256: Final = "crucible.dataset.sha256"
"""SHA-256 of the data, hexadecimal."""

CRUCIBLE_DATASET_SIZE: Final = "crucible.dataset.size"
"""Size of the data set, in bytes."""

CRUCIBLE_DATASET_SPLIT: Final = "crucible.dataset.split"
"""Which part of the data set it is."""

CRUCIBLE_DATASET_VERSION: Final = "crucible.dataset.version"
"""Version of the data set."""

CRUCIBLE_DECISION_ALTERNATIVES: Final = "crucible.decision.alternatives"
"""What else was considered."""

CRUCIBLE_DECISION_CODE_SECTION: Final = "crucible.decision.code_section"
"""Place in code that the decision is about, as the user names it."""

CRUCIBLE_DECISION_CONFIDENCE: Final = "crucible.decision.confidence"
"""How sure the decider is, from 0 to 1; absent means unknown."""

CRUCIBLE_DECISION_METADATA_TEMPLATE: Final = "crucible.decision.metadata"
"""The user's further facts about a decision, one attribute for each key."""

CRUCIBLE_DECISION_PREVIOUS_CONFIDENCE: Final = "crucible.decision.previous_confidence"
"""Confidence before this update, from 0 to 1."""

CRUCIBLE_DECISION_REASONING: Final = "crucible.decision.reasoning"
"""Why it was decided."""

CRUCIBLE_DECISION_SPEC_REFERENCE: Final = "crucible.decision.spec_reference"
"""Place in a specification that the decision rests on."""

CRUCIBLE_DECISION_TEXT: Final = "crucible.decision.text"
"""What was decided."""

CRUCIBLE_DEPENDENCY_CYCLE: Final = "crucible.dependency.cycle"
"""Event ids of the cycle that this record would have closed."""

CRUCIBLE_DEPENDENCY_NAMES: Final = "crucible.dependency.names"
"""One line for each link of this span, `type: operation: summary`."""

CRUCIBLE_DEPENDENCY_SPAN_IDS: Final = "crucible.dependency.span_ids"
"""Span id of each linked span, parallel to `crucible.dependency.names`."""

CRUCIBLE_DEPENDENCY_TYPES: Final = "crucible.dependency.types"
"""Link type of each link, parallel to `crucible.dependency.names`."""

CRUCIBLE_DEPENDENCY_UNKNOWN: Final = "crucible.dependency.unknown"
"""Event ids that `depends_on`, `parent` or `links` named and nothing had recorded."""

CRUCIBLE_DEPLOYMENT_OVERLAPPING: Final = "crucible.deployment.overlapping"
"""True when another deployment of this name, which it does not take over from, was open in the process."""

CRUCIBLE_DEPLOYMENT_PREVIOUS_VERSION: Final = "crucible.deployment.previous.version"
"""Version that served before."""

CRUCIBLE_DEPLOYMENT_REASON: Final = "crucible.deployment.reason"
"""Why it was deployed, promoted or taken back."""

CRUCIBLE_DEPLOYMENT_REPLICA_COUNT: Final = "crucible.deployment.replica.count"
"""How many replicas serve."""

CRUCIBLE_DEPLOYMENT_STRATEGY: Final = "crucible.deployment.strategy"
"""How the new version takes over."""

CRUCIBLE_DEPLOYMENT_TARGET_VERSION: Final = "crucible.deployment.target.version"
"""Version that is being deployed, or gone back to."""

CRUCIBLE_DEPLOYMENT_TRAFFIC_SHARE: Final = "crucible.deployment.traffic.share"
"""Share of the traffic that the new version gets, from 0 to 1."""

CRUCIBLE_DEVICE_COUNT: Final = "crucible.device.count"
"""How many accelerators the process sees."""

CRUCIBLE_DISTRIBUTED_BACKEND: Final = "crucible.distributed.backend"
"""What carries the communication."""

CRUCIBLE_DISTRIBUTED_LAUNCHER: Final = "crucible.distributed.launcher"
"""What started the processes."""

CRUCIBLE_DISTRIBUTED_LOCAL_RANK: Final = "crucible.distributed.local_rank"
"""Rank of the process among those of its machine."""

CRUCIBLE_DISTRIBUTED_NODE_RANK: Final = "crucible.distributed.node_rank"
"""Rank of the machine."""

CRUCIBLE_DISTRIBUTED_RANK: Final = "crucible.distributed.rank"
"""Rank of the process among all of the run."""

CRUCIBLE_DISTRIBUTED_WORLD_SIZE: Final = "crucible.distributed.world_size"
"""How many processes share the run."""

CRUCIBLE_DROPPED_COUNT: Final = "crucible.dropped.count"
"""How many events or attributes of this span were not kept."""

CRUCIBLE_DROPPED_REASON: Final = "crucible.dropped.reason"
"""Why they were not kept."""

CRUCIBLE_EPISODE_INDEX: Final = "crucible.episode.index"
"""Zero-based index of the episode."""

CRUCIBLE_EPISODE_LENGTH: Final = "crucible.episode.length"
"""How many steps the episode took."""

CRUCIBLE_EPISODE_RETURN: Final = "crucible.episode.return"
"""Sum of the episode's rewards, as far as they are finite."""

CRUCIBLE_EVENT_ID: Final = "crucible.event.id"
"""Identifier of this span or event, 32 hexadecimal digits: what `depends_on` and `parent` name."""

CRUCIBLE_EXPERIENCE_BUFFER_SIZE: Final = "crucible.experience.buffer.size"
"""How many experiences the buffer holds."""

CRUCIBLE_EXPERIENCE_EPISODE_COUNT: Final = "crucible.experience.episode.count"
"""How many different episodes the drawn experiences are from.

A span is linked to a hundred of them at most, the latest.
"""

CRUCIBLE_EXPERIENCE_PRIORITY_MEAN: Final = "crucible.experience.priority.mean"
"""Mean priority of the drawn experiences."""

CRUCIBLE_EXPERIENCE_SAMPLE_COUNT: Final = "crucible.experience.sample.count"
"""How many experiences were drawn."""

CRUCIBLE_EXPERIMENT_CONDITION: Final = "crucible.experiment.condition"
"""Which condition of the experiment a run belongs to."""

CRUCIBLE_EXPERIMENT_HYPOTHESIS: Final = "crucible.experiment.hypothesis"
"""What the experiment is to find out."""

CRUCIBLE_EXPERIMENT_ID: Final = "crucible.experiment.id"
"""Identifier of the experiment."""

CRUCIBLE_EXPERIMENT_NAME: Final = "crucible.experiment.name"
"""Name of the experiment."""

CRUCIBLE_EXPERIMENT_PLAN_NOT_REACHED: Final = "crucible.experiment.plan.not_reached"
"""Names of the stages that were to run and did not, because an earlier one failed."""

CRUCIBLE_EXPERIMENT_PLAN_SHA256: Final = "crucible.experiment.plan.sha256"
"""SHA-256 of the plan's canonical JSON (RFC 8785), hexadecimal: the runs of one plan have the same."""

CRUCIBLE_EXPERIMENT_PLAN_STAGES: Final = "crucible.experiment.plan.stages"
"""Names of the stages of the plan, in its order, those that are not enabled too."""

CRUCIBLE_EXPERIMENT_PLAN_VERSION: Final = "crucible.experiment.plan.version"
"""Version of the plan."""

CRUCIBLE_FEEDBACK_COMMENT: Final = "crucible.feedback.comment"
"""The feedback in the giver's words."""

CRUCIBLE_FEEDBACK_LABEL: Final = "crucible.feedback.label"
"""The feedback as one word of a small set."""

CRUCIBLE_FEEDBACK_SCORE: Final = "crucible.feedback.score"
"""The feedback as a number."""

CRUCIBLE_FEEDBACK_SOURCE: Final = "crucible.feedback.source"
"""Who gave the feedback."""

CRUCIBLE_FEEDBACK_TARGET_EVENT_ID: Final = "crucible.feedback.target.event_id"
"""Event id of what the feedback is about, 32 hexadecimal digits."""

CRUCIBLE_FEEDBACK_UNLINKED: Final = "crucible.feedback.unlinked"
"""Why the feedback is linked to nothing."""

CRUCIBLE_HISTORY_SOURCE: Final = "crucible.history.source"
"""What a run was imported from after it had ended."""

CRUCIBLE_HISTORY_TIMES: Final = "crucible.history.times"
"""Whether the times inside an imported run are true."""

CRUCIBLE_INFERENCE_BATCH_SIZE: Final = "crucible.inference.batch.size"
"""How many inputs one inference handled."""

CRUCIBLE_INFERENCE_SAMPLED_RATIO: Final = "crucible.inference.sampled.ratio"
"""Share of the inferences that are recorded, from 0 to 1: each recorded one stands for 1 / ratio.

Those that fail are all recorded, so that the ratio is 1 on them.
"""

CRUCIBLE_INTEGRITY_PREVIOUS_SHA256: Final = "crucible.integrity.previous_sha256"
"""SHA-256 of the record before, hexadecimal."""

CRUCIBLE_INTEGRITY_ROOT: Final = "crucible.integrity.root"
"""Digest that the chain starts from, hexadecimal."""

CRUCIBLE_INTEGRITY_SEQUENCE: Final = "crucible.integrity.sequence"
"""Number of the record in its chain."""

CRUCIBLE_INTEGRITY_SHA256: Final = "crucible.integrity.sha256"
"""SHA-256 of this record and the one before, hexadecimal."""

CRUCIBLE_LATE_EVENT_ID: Final = "crucible.late.event_id"
"""The operation that a record belongs to which came after its end: its `crucible.event.id`.

The record stands on, or inside, the nearest operation around that one which had not ended.
"""

CRUCIBLE_LATE_NAME: Final = "crucible.late.name"
"""The name of the event that came after the end of the operation it belongs to; absent for attributes and links."""

CRUCIBLE_LINK_EVENT_ID: Final = "crucible.link.event_id"
"""Event id of the span that the link points at, 32 hexadecimal digits."""

CRUCIBLE_LINK_REASON: Final = "crucible.link.reason"
"""Why the link holds, in the user's words."""

CRUCIBLE_LINK_TYPE: Final = "crucible.link.type"
"""How the span that holds the link stands to the span it points at."""

CRUCIBLE_LLM_LATENCY: Final = "crucible.llm.latency"
"""Seconds from the request to the end of the answer, as the caller measured them."""

CRUCIBLE_LLM_REFUSED: Final = "crucible.llm.refused"
"""What was given of a call and is no count, duration or amount, each `name: value`; it is in no sum."""

CRUCIBLE_METRIC_NAME: Final = "crucible.metric.name"
"""Name of the user's metric that one point of `crucible.training.metric` belongs to."""

CRUCIBLE_MODEL_CHANGED: Final = "crucible.model.changed"
"""The file changed while it was digested, so no digest is given."""

CRUCIBLE_MODEL_DIGEST_MISMATCH: Final = "crucible.model.digest_mismatch"
"""The digest of the loaded file differs from the one recorded when it was saved."""

CRUCIBLE_MODEL_FORMAT: Final = "crucible.model.format"
"""Format of the model."""

CRUCIBLE_MODEL_NAME: Final = "crucible.model.name"
"""Name of the model."""

CRUCIBLE_MODEL_PARAMETER_COUNT: Final = "crucible.model.parameter.count"
"""How many parameters the model has."""

CRUCIBLE_MODEL_PATH: Final = "crucible.model.path"
"""Where the model lies."""

CRUCIBLE_MODEL_SHA256: Final = "crucible.model.sha256"
"""SHA-256 of the model file, hexadecimal."""

CRUCIBLE_MODEL_SIZE: Final = "crucible.model.size"
"""Size of the model, in bytes."""

CRUCIBLE_MODEL_VERSION: Final = "crucible.model.version"
"""Version of the model."""

CRUCIBLE_OPERATION_NAME: Final = "crucible.operation.name"
"""Which operation of this convention a span is: the last part of its span type.

Low cardinality; the span name begins with it. Set when the span starts, so that a sampler can decide by it.
"""

CRUCIBLE_OPERATION_RESULT: Final = "crucible.operation.result"
"""How an operation ended."""

CRUCIBLE_OVERFLOW: Final = "crucible.overflow"
"""JSON object of the user-named attributes that one record has no room for."""

CRUCIBLE_PARSE_DIAGNOSTICS: Final = "crucible.parse.diagnostics"
"""What could not be read in a model's text, one sentence each."""

CRUCIBLE_PARSE_SOURCE_LENGTH: Final = "crucible.parse.source_length"
"""How much of the parsed text the decision takes, in characters."""

CRUCIBLE_PARSE_SOURCE_OFFSET: Final = "crucible.parse.source_offset"
"""Where in the parsed text the decision begins, in characters."""

CRUCIBLE_PATTERN_NAME: Final = "crucible.pattern.name"
"""Name of the pattern that was applied."""

CRUCIBLE_PIPELINE_ID: Final = "crucible.pipeline.id"
"""Identifier of this execution of the pipeline."""

CRUCIBLE_PIPELINE_NAME: Final = "crucible.pipeline.name"
"""Name of the pipeline, as written in code."""

CRUCIBLE_POLICY_ENTROPY: Final = "crucible.policy.entropy"
"""Entropy of the policy."""

CRUCIBLE_POLICY_KL: Final = "crucible.policy.kl"
"""Divergence of the new policy from the old one."""

CRUCIBLE_POLICY_VERSION: Final = "crucible.policy.version"
"""Version of the policy."""

CRUCIBLE_RECORDER_STATE: Final = "crucible.recorder.state"
"""What became of a record."""

CRUCIBLE_REPAIRED_KEYS: Final = "crucible.repaired.keys"
"""Keys whose value had to be changed before it could be recorded."""

CRUCIBLE_REPAIRED_REASONS: Final = "crucible.repaired.reasons"
"""What was changed about each value, parallel to `crucible.repaired.keys`."""

CRUCIBLE_REWARD_VALUE: Final = "crucible.reward.value"
"""The reward."""

CRUCIBLE_RUN_ATTEMPT: Final = "crucible.run.attempt"
"""Number of the attempt, zero for the first."""

CRUCIBLE_RUN_CAUSE: Final = "crucible.run.cause"
"""What ended an interrupted run, when it is known."""

CRUCIBLE_RUN_ENCLOSING_SPAN_ID: Final = "crucible.run.enclosing_span_id"
"""Span id of the operation that encloses this one in an earlier part of the run, whose trace was full: 16 hexadecimal
digits.
"""

CRUCIBLE_RUN_FIRST_TRACE_ID: Final = "crucible.run.first_trace_id"
"""Trace id of the run's first part, 32 hexadecimal digits."""

CRUCIBLE_RUN_ID: Final = "crucible.run.id"
"""Identifier of the run: given, or taken from the scheduler or framework, else random."""

CRUCIBLE_RUN_LAST_SEEN: Final = "crucible.run.last_seen"
"""When an interrupted process last wrote something, ISO 8601 in UTC."""

CRUCIBLE_RUN_NAME: Final = "crucible.run.name"
"""Name of the run, as a person calls it."""

CRUCIBLE_RUN_PART: Final = "crucible.run.part"
"""Which part of the attempt a trace holds: `0`, or rank and ordinal of what outgrew it."""

CRUCIBLE_RUN_PREVIOUS_TRACE_ID: Final = "crucible.run.previous_trace_id"
"""Trace id of the part or attempt before this one, 32 hexadecimal digits."""

CRUCIBLE_RUN_STATE: Final = "crucible.run.state"
"""Where an attempt of a run is in its life."""

CRUCIBLE_RUN_VERDICT: Final = "crucible.run.verdict"
"""What came of the run, in words: the user's where they gave some, else made of what was measured."""

CRUCIBLE_STAGE_ATTEMPT: Final = "crucible.stage.attempt"
"""Number of the attempt, zero for the first."""

CRUCIBLE_STAGE_CACHED: Final = "crucible.stage.cached"
"""Whether the result came from a cache."""

CRUCIBLE_STAGE_CONFIG: Final = "crucible.stage.config"
"""JSON object of the stage's configuration."""

CRUCIBLE_STAGE_ID: Final = "crucible.stage.id"
"""Identifier of this execution of the stage."""

CRUCIBLE_STAGE_INDEX: Final = "crucible.stage.index"
"""Zero-based place of the stage in its pipeline."""

CRUCIBLE_STAGE_INPUT_SCHEMA: Final = "crucible.stage.input.schema"
"""JSON object of what the stage's input is made of, by the name of the input."""

CRUCIBLE_STAGE_INPUT_SHA256: Final = "crucible.stage.input.sha256"
"""SHA-256 of the stage's input, hexadecimal.

Of several inputs it is the SHA-256 of one line for each, in order of their names: its SHA-256, a space, its name, a
line feed. It is absent where one of them has none.
"""

CRUCIBLE_STAGE_INPUT_SIZE: Final = "crucible.stage.input.size"
"""Size of the stage's input, in bytes."""

CRUCIBLE_STAGE_ITEM_COUNT: Final = "crucible.stage.item.count"
"""How many items the stage worked on."""

CRUCIBLE_STAGE_ITEM_INDEX: Final = "crucible.stage.item.index"
"""Zero-based place of the item in what the stage worked on."""

CRUCIBLE_STAGE_NAME: Final = "crucible.stage.name"
"""Name of the stage, as written in code."""

CRUCIBLE_STAGE_OUTPUT_SCHEMA: Final = "crucible.stage.output.schema"
"""JSON object of what the stage's output is made of, by the name of the output."""

CRUCIBLE_STAGE_OUTPUT_SHA256: Final = "crucible.stage.output.sha256"
"""SHA-256 of the stage's output, hexadecimal."""

CRUCIBLE_STAGE_OUTPUT_SIZE: Final = "crucible.stage.output.size"
"""Size of the stage's output, in bytes."""

CRUCIBLE_STAGE_REASON: Final = "crucible.stage.reason"
"""Why the stage was skipped."""

CRUCIBLE_STAGE_UNDIGESTED: Final = "crucible.stage.undigested"
"""Inputs and outputs whose SHA-256 is not known, one line for each, `name: reason`."""

CRUCIBLE_TRAINING_ACCUMULATION: Final = "crucible.training.accumulation"
"""How many batches one optimizer step is made of, where gradients are accumulated."""

CRUCIBLE_TRAINING_BATCH_COUNT: Final = "crucible.training.batch.count"
"""How many batches were taken from a tracked loader.

With gradient accumulation these are the micro-batches; steps are optimizer steps.
"""

CRUCIBLE_TRAINING_BATCH_INDEX: Final = "crucible.training.batch.index"
"""Zero-based index of the batch within its epoch."""

CRUCIBLE_TRAINING_BATCH_SIZE: Final = "crucible.training.batch.size"
"""How many samples a batch holds."""

CRUCIBLE_TRAINING_BEST_EPOCH: Final = "crucible.training.best.epoch"
"""Index of the best epoch so far."""

CRUCIBLE_TRAINING_BEST_VALUE: Final = "crucible.training.best.value"
"""Best value so far of what is watched."""

CRUCIBLE_TRAINING_DATA_WAIT_SHARE: Final = "crucible.training.data_wait.share"
"""Share of the time spent waiting for data, from 0 to 1."""

CRUCIBLE_TRAINING_EPOCH_COUNT: Final = "crucible.training.epoch.count"
"""How many epochs are planned, or were run when the run has ended."""

CRUCIBLE_TRAINING_EPOCH_INDEX: Final = "crucible.training.epoch.index"
"""Zero-based index of the epoch."""

CRUCIBLE_TRAINING_GRADIENT_NORM: Final = "crucible.training.gradient.norm"
"""Norm of the gradient."""

CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE: Final = "crucible.training.hyperparameter"
"""A hyperparameter, one attribute for each name.

Nested ones are flattened, with dots between the levels, `optimizer.betas.0`.
"""

CRUCIBLE_TRAINING_LEARNING_RATE: Final = "crucible.training.learning_rate"
"""Learning rate in force."""

CRUCIBLE_TRAINING_LOSS_KIND: Final = "crucible.training.loss.kind"
"""Which loss it is."""

CRUCIBLE_TRAINING_LOSS_VALUE: Final = "crucible.training.loss.value"
"""Value of the loss."""

CRUCIBLE_TRAINING_METRIC_TEMPLATE: Final = "crucible.training.metric"
"""A metric of the user's, one attribute for each name."""

CRUCIBLE_TRAINING_PATIENCE: Final = "crucible.training.patience"
"""How many epochs without an improvement are tolerated."""

CRUCIBLE_TRAINING_PHASE_COUNT_TEMPLATE: Final = "crucible.training.phase.count"
"""How often a phase was gone through, one attribute for each name."""

CRUCIBLE_TRAINING_PHASE_DURATION_TEMPLATE: Final = "crucible.training.phase.duration"
"""Time spent in a phase of the steps, summed, one attribute for each name."""

CRUCIBLE_TRAINING_SAMPLE_COUNT: Final = "crucible.training.sample.count"
"""How many samples were used."""

CRUCIBLE_TRAINING_SEED: Final = "crucible.training.seed"
"""Seed that the run was started with."""

CRUCIBLE_TRAINING_STEP_INDEX: Final = "crucible.training.step.index"
"""Zero-based index of the optimizer step, counted over the whole run."""

CRUCIBLE_TRAINING_STOP_REASON: Final = "crucible.training.stop_reason"
"""Why training stopped before its planned end."""

CRUCIBLE_TRAINING_THROUGHPUT: Final = "crucible.training.throughput"
"""Samples used in a second."""

CRUCIBLE_TRUNCATED_KEYS: Final = "crucible.truncated.keys"
"""Keys of the attributes whose text was cut on the wire.

The whole text stays in the journal.
"""

CRUCIBLE_TRUNCATED_LENGTHS: Final = "crucible.truncated.lengths"
"""Length of each whole text, in characters, parallel to `crucible.truncated.keys`."""

CRUCIBLE_TRUNCATED_SHA256S: Final = "crucible.truncated.sha256s"
"""SHA-256 of each whole text in UTF-8, hexadecimal, parallel to `crucible.truncated.keys`."""

CRUCIBLE_TUNING_BEST_TRIAL: Final = "crucible.tuning.best.trial"
"""Index of the best trial of the study."""

CRUCIBLE_TUNING_DIRECTION: Final = "crucible.tuning.direction"
"""Whether the objective is to be small or large."""

CRUCIBLE_TUNING_OBJECTIVE: Final = "crucible.tuning.objective"
"""Name of what the study optimizes."""

CRUCIBLE_TUNING_STUDY_NAME: Final = "crucible.tuning.study.name"
"""Name of the study."""

CRUCIBLE_TUNING_TRIALS_COMPLETED: Final = "crucible.tuning.trials.completed"
"""How many trials of the study ran to their end."""

CRUCIBLE_TUNING_TRIALS_FAILED: Final = "crucible.tuning.trials.failed"
"""How many trials of the study failed."""

CRUCIBLE_TUNING_TRIALS_PRUNED: Final = "crucible.tuning.trials.pruned"
"""How many trials of the study were pruned."""

CRUCIBLE_TUNING_TRIAL_INDEX: Final = "crucible.tuning.trial.index"
"""Zero-based index of the trial in its study."""

CRUCIBLE_TUNING_TRIAL_REASON: Final = "crucible.tuning.trial.reason"
"""Why a trial was pruned."""

CRUCIBLE_TUNING_TRIAL_STATE: Final = "crucible.tuning.trial.state"
"""How a trial ended."""

CRUCIBLE_TUNING_VALUE: Final = "crucible.tuning.value"
"""Value of the objective; of a study, that of its best trial."""

CRUCIBLE_USAGE_TOTAL_CACHE_READ_INPUT_TOKENS: Final = "crucible.usage.total.cache_read.input_tokens"
"""Of the tokens they read, those that came from a cache."""

CRUCIBLE_USAGE_TOTAL_CACHE_WRITE_INPUT_TOKENS: Final = "crucible.usage.total.cache_write.input_tokens"
"""Of the tokens they read, those that were put into a cache."""

CRUCIBLE_USAGE_TOTAL_CALL_COUNT: Final = "crucible.usage.total.call.count"
"""How many calls of language models were recorded inside the operation.

The attributes `crucible.usage.total.*` are sums of what lies inside an operation, those of single calls have other
names: a viewer that adds up `gen_ai.usage.*` or `crucible.cost.*` over spans counts nothing twice.
"""

CRUCIBLE_USAGE_TOTAL_COST: Final = "crucible.usage.total.cost"
"""What these calls cost, where all have one currency; rounded to a double."""

CRUCIBLE_USAGE_TOTAL_COSTS: Final = "crucible.usage.total.costs"
"""What these calls cost, exactly, one sum for each currency."""

CRUCIBLE_USAGE_TOTAL_CURRENCY: Final = "crucible.usage.total.currency"
"""Currency of that cost, as in ISO 4217."""

CRUCIBLE_USAGE_TOTAL_INPUT_TOKENS: Final = "crucible.usage.total.input_tokens"
"""Tokens that these calls read, those from a cache too."""

CRUCIBLE_USAGE_TOTAL_OUTPUT_TOKENS: Final = "crucible.usage.total.output_tokens"
"""Tokens that these calls wrote, those of thinking too."""

CRUCIBLE_USAGE_TOTAL_REASONING_OUTPUT_TOKENS: Final = "crucible.usage.total.reasoning.output_tokens"
"""Of the tokens they wrote, those of thinking."""

CRUCIBLE_USAGE_TOTAL_UNCOUNTED_COUNT: Final = "crucible.usage.total.uncounted.count"
"""How many of these calls did not say how many tokens they read and wrote."""

CRUCIBLE_USAGE_TOTAL_UNPRICED_COUNT: Final = "crucible.usage.total.unpriced.count"
"""How many of these calls have no known cost and are in no amount."""

CRUCIBLE_WINDOW_ARRAY_TEMPLATE: Final = "crucible.window.array"
"""All values of a column, for what draws arrays; only where it was asked for."""

CRUCIBLE_WINDOW_COUNT: Final = "crucible.window.count"
"""How many steps the window holds."""

CRUCIBLE_WINDOW_FIRST_STEP: Final = "crucible.window.first_step"
"""Index of the window's first step."""

CRUCIBLE_WINDOW_FIRST_TEMPLATE: Final = "crucible.window.first"
"""First value of a column in the window."""

CRUCIBLE_WINDOW_LAST_STEP: Final = "crucible.window.last_step"
"""Index of the window's last step."""

CRUCIBLE_WINDOW_LAST_TEMPLATE: Final = "crucible.window.last"
"""Last value of a column in the window."""

CRUCIBLE_WINDOW_MAX_TEMPLATE: Final = "crucible.window.max"
"""Largest finite value of a column in the window, NaN when none is finite."""

CRUCIBLE_WINDOW_MEAN_TEMPLATE: Final = "crucible.window.mean"
"""Mean of a column's finite values in the window, NaN when none is finite."""

CRUCIBLE_WINDOW_MIN_TEMPLATE: Final = "crucible.window.min"
"""Smallest finite value of a column in the window, NaN when none is finite."""

CRUCIBLE_WINDOW_NONFINITE_TEMPLATE: Final = "crucible.window.nonfinite"
"""How many values of a column are not finite; only where above zero."""

CRUCIBLE_WINDOW_REASON: Final = "crucible.window.reason"
"""Why the window was closed."""

CRUCIBLE_WINDOW_REPEATED: Final = "crucible.window.repeated"
"""How many rows have a step that is not above every earlier one of the run; only where above zero."""

CRUCIBLE_WINDOW_SERIES_COLUMNS: Final = "crucible.window.series.columns"
"""Names of the packed columns; the first two are always `step` and `time_ns`."""

CRUCIBLE_WINDOW_SERIES_FORMATS: Final = "crucible.window.series.formats"
"""How each column is packed, parallel to `crucible.window.series.columns`."""

CRUCIBLE_WINDOW_SERIES_VALUES: Final = "crucible.window.series.values"
"""The columns one after another, each packed as its format says.

An integer or double column takes 8 bytes a step. OTLP bytes; the schema language has no type for them but `any`.
"""

DEPLOYMENT_ENVIRONMENT_NAME: Final = "deployment.environment.name"
"""Environment that is deployed to."""

DEPLOYMENT_ID: Final = "deployment.id"
"""Identifier of the deployment."""

DEPLOYMENT_NAME: Final = "deployment.name"
"""Name of the deployment."""

DEPLOYMENT_STATUS: Final = "deployment.status"
"""How the deployment ended, `failed` or `succeeded`."""

ERROR_TYPE: Final = "error.type"
"""Class of the error that ended an operation; absent when there was none."""

EXCEPTION_MESSAGE: Final = "exception.message"
"""Message of the exception."""

EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
"""Stack trace of the exception."""

EXCEPTION_TYPE: Final = "exception.type"
"""Class of the exception."""

GEN_AI_AGENT_ID: Final = "gen_ai.agent.id"
"""Identifier of the agent."""

GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
"""Name of the agent."""

GEN_AI_CONVERSATION_ID: Final = "gen_ai.conversation.id"
"""Identifier of the conversation that a call belongs to."""

GEN_AI_EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"
"""Why it was judged so."""

GEN_AI_EVALUATION_NAME: Final = "gen_ai.evaluation.name"
"""What was judged."""

GEN_AI_EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
"""The judgement as one word of a small set."""

GEN_AI_EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
"""The judgement as a number."""

GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
"""Who offers the model."""

GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
"""Model that was asked for."""

GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
"""Identifier of the answer."""

GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
"""Model that answered."""

GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
"""Seconds from the request to the first part of a streamed answer."""

GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"
"""Whether tokens were read, `input`, or written, `output`."""

GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
"""Of the tokens it read, those that came from a cache."""

GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
"""Of the tokens it read, those that were put into a cache."""

GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
"""Tokens that the model read, those from a cache too."""

GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
"""Tokens that the model wrote."""

GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
"""Of the tokens it wrote, those it used for thinking."""

HOST_ARCH: Final = "host.arch"
"""Processor architecture of the machine."""

HOST_ID: Final = "host.id"
"""Identifier of the machine."""

HOST_NAME: Final = "host.name"
"""Name of the machine."""

HW_ID: Final = "hw.id"
"""Identifier of a piece of hardware."""

HW_MODEL: Final = "hw.model"
"""Model of a piece of hardware."""

HW_NAME: Final = "hw.name"
"""Name of a piece of hardware."""

HW_TYPE: Final = "hw.type"
"""Kind of a piece of hardware."""

HW_VENDOR: Final = "hw.vendor"
"""Vendor of a piece of hardware."""

K8S_JOB_NAME: Final = "k8s.job.name"
"""Name of the Kubernetes job."""

K8S_NAMESPACE_NAME: Final = "k8s.namespace.name"
"""Name of the Kubernetes namespace."""

K8S_NODE_NAME: Final = "k8s.node.name"
"""Name of the Kubernetes node."""

K8S_POD_NAME: Final = "k8s.pod.name"
"""Name of the Kubernetes pod."""

OS_TYPE: Final = "os.type"
"""Kind of operating system."""

PROCESS_PID: Final = "process.pid"
"""Identifier of the process."""

PROCESS_RUNTIME_NAME: Final = "process.runtime.name"
"""Name of the language runtime."""

PROCESS_RUNTIME_VERSION: Final = "process.runtime.version"
"""Version of the language runtime."""

SERVICE_INSTANCE_ID: Final = "service.instance.id"
"""Identifier of one instance of the service."""

SERVICE_NAME: Final = "service.name"
"""Name of the service: a role, never a run."""

SERVICE_NAMESPACE: Final = "service.namespace"
"""Group of services that it belongs to."""

SERVICE_VERSION: Final = "service.version"
"""Version of the service."""

TELEMETRY_SDK_LANGUAGE: Final = "telemetry.sdk.language"
"""Language of the telemetry SDK."""

TELEMETRY_SDK_NAME: Final = "telemetry.sdk.name"
"""Name of the telemetry SDK."""

TELEMETRY_SDK_VERSION: Final = "telemetry.sdk.version"
"""Version of the telemetry SDK."""

VCS_REF_HEAD_NAME: Final = "vcs.ref.head.name"
"""Branch or tag that was checked out."""

VCS_REF_HEAD_REVISION: Final = "vcs.ref.head.revision"
"""Revision that was checked out."""

VCS_REPOSITORY_URL_FULL: Final = "vcs.repository.url.full"
"""Address of the repository."""
