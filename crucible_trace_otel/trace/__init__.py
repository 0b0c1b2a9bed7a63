"""What a stored trace is: frozen values, the tree of its spans, its causal links, its step rows."""
