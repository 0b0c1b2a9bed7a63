"""What a stored trace is: frozen values, the tree of its spans, its causal links, its step rows.

Where to look:

    spans           spans (the values, the tree), otlp (the codec), causality (why)
    runs            runs (several traces that are one run), training (attempts, epochs, checkpoints, abnormal steps)
    ranks           ranks (what each process of a run recorded) -> clocks (how theirs differ), stragglers (who is slow)
    steps           steps (windows unfolded) -> columns, lineage (which attempt's steps count), tables (numpy, CSV, ...)
"""
