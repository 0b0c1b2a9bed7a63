"""What a stored trace is: frozen values, the tree of its spans, its causal links, its step rows.

Where to look:

    spans           spans (the values, the tree), otlp (the codec), causality (why)
    runs            runs (several traces that are one run), training (attempts, epochs, checkpoints, abnormal steps)
    ranks           ranks (what each process of a run recorded) -> clocks (how theirs differ), stragglers (who is slow)
    lineage         provenance (what rests on what) -> subjects (what is asked about), lineage (a model's life)
    plans           plans (what was planned, what ran)
    steps           steps (windows unfolded) -> columns, attempts (which steps count), tables (numpy, CSV, ...)
    language models usage (tokens and cost of each call, added up)
"""
