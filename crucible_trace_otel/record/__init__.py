"""Write: operations and events become OpenTelemetry spans, through opentelemetry-api only.

`_operation` and `_moments` alone touch spans. The rooms, without an underscore, say what they mean. Where to look:

    operations      _operation -> _context (what is around it), _links (causes), _failure (how it ended)
                    _calls (decorators), _recorded (what a verb returns), _late (what comes after the end)
                    _moments (what happens at once); _guard (nothing raises)
    values          _values (anything as an attribute), _unexpected (what cannot be), _doubles (metrics), _ids
    other signals   _event_log (log records), _metrics; _tracer (which provider)
    the rooms       reasoning, pipeline, experiment, deployment; training, validation, tuning, history
                    facts (data set, model, ...)
                    reinforcement (episodes, policies) -> _experience, _online; feedback -> _feedback_token
    a training run  training: TrainingRun and Epoch, built up from class to class:
                    _operation.Operation < _stepping.Stepping < _timed.Timed < _training_signals.TrainingSignals
                    TrainingSignals < _together.Together < _steps.Training < Epoch; Stepping < reinforcement.Episode
                    Training < _checkpoints.Checkpoints, _conclusion.Concluded < _attempt.Attempt (which run it is)
                    Checkpoints, Attempt < TrainingRun
    many processes  distributed (collectives, barriers), propagation (context to threads and processes)
                    _launchers (their variables, the one list) -> _process (which rank this is) -> _attempt
    language models llm; _model_calls (what a call took: of inferences and decisions too) -> _usage (checked, priced)
                    _sums (up to the operations around it)
    steps           _stepping, _steps, _training_signals (beside them) -> _windows -> _rows (an open window), _totals
                    _policy, _abnormal (which steps are not as the others)
                    _keeping (where rows survive), _held (scalars on an accelerator), _living (who is open)
    where time goes _timed -> _measures (phases, waiting), _tracking (loops over a loader), _progress (bars)
    checkpoints     _checkpoints, _resuming -> _sidecar (what it says), _sidecar_files (where it lies)
                    _files (any saving and loading) -> _digests, _manifest (of a directory); _saving (what a run saves)
    pipelines       pipeline -> _stage -> _attempts (tried again), _stage_order (by name)
                    _artifacts.ArtifactVerbs < Pipeline; ArtifactVerbs < _stage_data.StageData
                    < _stage_items.StageItems < Stage
                    _data (now or soon) -> _contents (digests), _schema, _tables; _stage_memory -> _state_file
    a deployment    deployment -> _rollout (what becomes of it), _serving (what it serves), _inference
                    ab_test -> _statistics
    start and end   _code, _hardware (what it runs on), _conclusion -> _verdict; _parts (a run larger than a trace)
    an old run      history -> _history_rows
"""
