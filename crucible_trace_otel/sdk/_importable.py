"""Imports the SDK, which reads one variable while it is imported and raises where that is no number.

`span_limits()` says so later, in one sentence.
"""

import os

_VARIABLE = "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"
_said = os.environ.get(_VARIABLE)
_broken = _said is not None and not _said.strip().isdecimal()

if _broken:
    del os.environ[_VARIABLE]
try:
    import opentelemetry.sdk.trace  # noqa: F401
finally:
    if _said is not None and _broken:
        os.environ[_VARIABLE] = _said
