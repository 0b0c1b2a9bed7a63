"""The process that records: which one it is, what started it, what it runs.

Where to look:

_process     its rank, and the run it was started from
_launchers   what launchers say in the environment: the one list
_code        which version of the code runs
_hardware    on which accelerators
"""
