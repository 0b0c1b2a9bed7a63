"""Write: operations and events become OpenTelemetry spans, through opentelemetry-api only.

`_operation` alone touches spans. The rooms, those without an underscore, say what they mean. Where to look:

    operations      _operation -> _context (what is around it), _links (causes), _failure (how it ended)
                    _calls (decorators), _recorded (what a verb returns), _late (what comes after the end)
                    _guard (nothing raises)
    values          _values (anything as an attribute), _unexpected (what cannot be), _doubles (metrics), _ids
    other signals   _event_log (log records), _metrics; _tracer (which provider)
    the rooms       reasoning, pipeline, deployment; training, validation, tuning, history; facts (data set, model, ...)
    a training run  training: TrainingRun and Epoch, built up from class to class:
                    _operation.Operation < _timed.Timed < _training_signals.TrainingSignals < _steps.Training < Epoch
                    Training < _checkpoints.Checkpoints, _conclusion.Concluded < TrainingRun
    steps           _steps, _training_signals (beside them) -> _windows -> _rows (an open window), _totals
                    _policy, _abnormal (which steps are not as the others)
                    _keeping (where rows survive), _held (scalars on an accelerator), _living (who is open)
    where time goes _timed -> _measures (phases, waiting), _tracking (loops over a loader), _progress (bars)
    checkpoints     _checkpoints, _resuming -> _sidecar (what it says), _sidecar_files (where it lies)
                    _files (any saving and loading) -> _digests, _manifest (of a directory); _saving (what a run saves)
    a deployment    deployment -> _rollout (what becomes of it), _serving (what it serves), _inference
                    ab_test -> _statistics
    start and end   _code, _hardware (what it runs on), _conclusion -> _verdict; _parts (a run larger than a trace)
    an old run      history -> _history_rows
"""
