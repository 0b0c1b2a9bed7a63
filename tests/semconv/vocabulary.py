"""Every name that the convention must hold, written out by hand: what is lost from the model is missed here."""

from collections.abc import Iterator


def words(text: str) -> frozenset[str]:
    """Words written with blanks between them."""
    return frozenset(text.split())


DECISIONS = words(
    """
    hypothesis_formed alternative_rejected constraint_evaluated pattern_applied ambiguity_flagged confidence_updated
    """
)

LONG = words(
    """
    training_run pipeline stage deployment epoch reasoning_chain experiment tuning_study trial validation_run
    episode worker run_part
    """
)

OPERATIONS = (
    DECISIONS
    | LONG
    | words(
        """
    step_segment checkpoint_save checkpoint_load model_save model_load inference a_b_test policy_update stage_item
    experience_sample feedback collective barrier progress run_index hyperparameter_tuned llm_call
    serving_started canary_started canary_promoted canary_rejected deployment_rollback
    """
    )
)

MARKERS = frozenset(f"{operation}_{ending}" for operation in LONG for ending in ("started", "interrupted"))

EVENTS = DECISIONS | words(
    """
    training_started training_completed epoch_started epoch_completed batch_processed loss_computed metric_recorded
    recorded_late gradient_computed steps_recorded step_abnormal checkpoint_saved checkpoint_loaded checkpoint_deleted
    early_stopped hyperparameter_tuned validation_run model_saved training_resumed stage_started stage_completed
    stage_failed stage_skipped stage_retried artifact_produced artifact_consumed deployment_initiated
    deployment_started model_loaded serving_started inference_completed canary_promoted deployment_rollback
    a_b_test_result deployment_completed deployment_failed reward_received policy_updated experience_sampled
    feedback_received online_update_applied worker_joined worker_left gradients_aggregated barrier_reached
    straggler_detected stage_start stage_complete decision_made alternative_considered gen_ai.evaluation.result
    """
)

OLD_EVENT_TYPES = words(
    """
    hypothesis_formed alternative_rejected constraint_evaluated pattern_applied ambiguity_flagged confidence_updated
    training_started training_completed epoch_started epoch_completed batch_processed loss_computed metric_recorded
    gradient_computed checkpoint_saved checkpoint_loaded early_stopped deployment_started model_loaded
    inference_completed deployment_completed reward_received policy_updated experience_sampled stage_started
    stage_completed
    """
)
"""The 26 event types of CrucibleTrace."""

METRICS = words(
    """
    crucible.training.step.duration crucible.training.epoch.duration crucible.training.run.duration
    crucible.training.loss crucible.training.learning_rate crucible.training.gradient.norm crucible.training.metric
    crucible.training.steps crucible.training.samples crucible.training.tokens crucible.training.abnormal_steps
    crucible.stage.duration crucible.inference.duration crucible.checkpoint.duration crucible.checkpoint.io
    crucible.llm.call.duration crucible.llm.call.time_to_first_token crucible.llm.call.tokens crucible.cost
    crucible.recorder.records crucible.ship.backlog crucible.reward crucible.episode.return
    crucible.feedback.score
    """
)

VALUE_SETS = {
    "LinkType": "parent depends_on contradicts refines supports overturns resumed_from retried_from continues "
    "indexes "
    "produced_by consumes serves evaluated_by deployed_from replaces rolled_back_to caused_by rewarded_by sampled_from "
    "feedback_on best_trial rank_of thought_in",
    "RunState": "running completed failed interrupted cancelled",
    "Result": "success failure error timeout cancellation skip",
    "WindowReason": "count time abnormal layout end",
    "RepairReason": (
        "integer surrogate cycle depth unprintable summarised on_device bytes type unexpected time digest identifier "
        "measurement contradiction"
    ),
    "TrialState": "completed pruned failed",
    "HistorySource": "rows csv keras transformers",
    "HistoryTimes": "recorded partial none",
    "DeploymentStrategy": "canary blue_green rolling a_b direct",
    "AbnormalKind": "nan infinity spike slow skipped",
    "FeedbackSource": "human automatic",
    "UnlinkedReason": "form changed version unsigned keyless not_recorded",
    "RecorderState": "recorded stored sent held refused lost",
    "SeriesFormat": "i8 f8 json i8z f8z",
    "TuningDirection": "minimize maximize",
}

# A star marks a template.
_ATTRIBUTES = """
@operation: name result
@about
@overflow
@run: id name attempt state part previous_trace_id first_trace_id enclosing_span_id last_seen cause verdict
@event: id
@late: event_id name
@link: type event_id reason
@dependency: names span_ids types unknown cycle
@chain: id name description
@decision: text reasoning alternatives confidence previous_confidence spec_reference code_section metadata*
@constraint: satisfied
@pattern: name
@ambiguity: resolution
@parse: diagnostics source_offset source_length
@training: epoch.index epoch.count step.index batch.index batch.size learning_rate loss.value loss.kind
@training: gradient.norm sample.count throughput data_wait.share best.epoch best.value patience stop_reason seed
@training: hyperparameter* metric* batch.count accumulation phase.duration* phase.count*
@code: changed
@device: count
@history: source times
@window: first_step last_step count reason first* last* min* max* mean* nonfinite* repeated array*
@window.series: columns formats values
@abnormal: kind column value expected reason count
@checkpoint: path sha256 size format step epoch best digest_mismatch changed metric*
@model: name version path sha256 size format parameter.count changed digest_mismatch
@dataset: name version sha256 size rows split
@tuning: study.name trial.index trial.state trial.reason objective value direction best.trial
@tuning: trials.completed trials.pruned trials.failed
@pipeline: name id
@stage: name id index attempt cached input.sha256 output.sha256 input.size output.size item.count config
@stage: reason input.schema output.schema undigested item.index
@artifact: name path sha256 size
@deployment: strategy traffic.share replica.count target.version previous.version overlapping reason
@ab: arms metric higher_is_better sample.counts means effect improvement interval confidence.level p_value test winner
@inference: batch.size sampled.ratio
@reward: value
@episode: index length return
@policy: version kl entropy
@experience: sample.count buffer.size priority.mean episode.count
@feedback: source score label comment target.event_id unlinked
@distributed: rank local_rank node_rank world_size backend launcher
@collective: name sequence size participant.count wait
@clock: offset
@experiment: id name hypothesis plan.sha256 plan.version plan.stages plan.not_reached condition
@llm: latency refused
@cost: amount exact currency price_table.version unknown.count
@usage.total: call.count input_tokens output_tokens cache_read.input_tokens cache_write.input_tokens
@usage.total: reasoning.output_tokens uncounted.count unpriced.count costs cost currency
@truncated: keys lengths sha256s
@dropped: count reason
@repaired: keys reasons
@integrity: sequence sha256 previous_sha256 root
@recorder: state
@metric: name
"""


def _spelled_out() -> Iterator[str]:
    for line in _ATTRIBUTES.strip().splitlines():
        namespace, separator, names = line.replace("@", "crucible.").partition(":")
        if not separator:
            yield namespace
        yield from (f"{namespace}.{name}" for name in names.split())


TEMPLATES = frozenset(name.removesuffix("*") for name in _spelled_out() if name.endswith("*"))
ATTRIBUTES = frozenset(name.removesuffix("*") for name in _spelled_out())

UPSTREAM = words(
    """
    error.type exception.type exception.message exception.stacktrace deployment.id deployment.name deployment.status
    deployment.environment.name service.name service.version service.namespace service.instance.id
    code.function.name code.file.path code.line.number vcs.ref.head.revision vcs.ref.head.name
    vcs.repository.url.full gen_ai.conversation.id gen_ai.provider.name gen_ai.request.model gen_ai.response.id
    gen_ai.token.type gen_ai.usage.input_tokens gen_ai.usage.output_tokens host.name process.pid hw.name hw.type
    k8s.pod.name
    """
)
"""Of what is reused as it is, the part that code relies on."""

CONTENT = frozenset(
    f"crucible.{name}"
    for name in words(
        """
        about run.verdict link.reason chain.description decision.text decision.reasoning decision.alternatives
        ambiguity.resolution parse.diagnostics training.stop_reason stage.config deployment.reason feedback.comment
        experiment.hypothesis overflow stage.reason stage.input.schema stage.output.schema stage.undigested
        """
    )
)
