"""Write: operations and events become OpenTelemetry spans, through opentelemetry-api only.

`_operation` and `_moments` alone touch spans. The rooms, without an underscore, say what they mean; what only they
need lies in folders, each with a map of its own. Where to look:

    the rooms       training, validation, tuning, history; facts (data set, model, ...) -> runs
                    reinforcement (episodes, policies) -> _experience (what is drawn), _online (learning in service)
                    pipeline -> stages
                    deployment, ab_test -> serving; feedback -> _feedback_token
                    reasoning, experiment
                    llm -> _model_calls (what a call took: of inferences and decisions too) -> _usage (checked, priced)
                    -> _sums (up to the operations around it)
                    distributed (collectives, barriers), propagation (context to threads and processes) -> processes
    the folders     runs (a training run, from its first attempt to its last), steps (windows of them, abnormal ones)
                    timing (where the time goes); stages (of a pipeline); serving (what a deployment does)
                    files (saved, loaded, known again), processes (which one this is, on what it runs)
    operations      _operation -> _context (what is around it), _links (causes), _failure (how it ended)
                    _calls (decorators), _recorded (what a verb returns), _late (what comes after the end)
                    _moments (what happens at once); _guard (nothing raises), _living (who is open)
                    _parts (a run larger than a trace); _scored (what is told in metrics)
    values          _values (anything as an attribute), _unexpected (what cannot be), _doubles (metrics), _ids
    other signals   _event_log (log records), _metrics; _tracer (which provider)

A training run is built up from class to class:

    _operation.Operation < steps._stepping.Stepping < timing._timed.Timed
    < runs._training_signals.TrainingSignals < runs._together.Together < runs._training.Training
    Training < training.Epoch; Stepping < reinforcement.Episode
    Training < runs._checkpoints.Checkpoints, runs._conclusion.Concluded < runs._attempt.Attempt
    Checkpoints, Attempt < training.TrainingRun
"""
