"""Where the time of a run or an epoch goes.

Where to look:

_timed      phases of the steps, loops over a loader, validations: the verbs
_tracking   a loop over a loader
_measures   what was measured, added up
_progress   progress bars
"""
