"""A deployment in service.

Where to look:

_serving      what it serves: the saved model, the run that made it
_inference    one use of it, made for a request path
_rollout      what becomes of it: promoted, rejected, taken back
_statistics   two samples compared, for A/B tests
"""
