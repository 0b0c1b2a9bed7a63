"""A training run: what it and its epochs record, how it begins, what it saves, what it comes to.

Where to look:

_training           what a run and an epoch have in common, built up from class to class over steps and timing
_training_signals   recorded beside the steps: batches, losses, gradients, skipped steps
_together           the work of several processes
_attempt            which run this is, and where its span lies among those of others
_resuming           as what an attempt begins: the first, a launcher's restart, or from a checkpoint
_checkpoints        saved, loaded, deleted
_saving             what a run saves, with a sidecar beside it
_conclusion         what a run says as a whole, at its end
_verdict            a run in one sentence
_history_rows       the rows of an old run, whatever they come in
"""
