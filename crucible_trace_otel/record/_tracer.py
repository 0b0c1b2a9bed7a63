"""Where spans are started: through the provider that `configure()` chose, else through OpenTelemetry's global one."""

import os
from functools import lru_cache

from opentelemetry import trace as trace_api
from opentelemetry.trace import Tracer, TracerProvider

from crucible_trace_otel._version import __version__
from crucible_trace_otel.semconv import SCHEMA_URL

__all__ = ["current_tracer", "use_tracer_provider"]

SCOPE = "crucible_trace_otel"
_BY_ENVIRONMENT = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ  # it makes one when it is first asked for
_configured: list[TracerProvider] = []


def use_tracer_provider(provider: TracerProvider | None) -> None:
    """Record through `provider` from now on; through OpenTelemetry's global one when None."""
    _configured[:] = [] if provider is None else [provider]


def current_tracer() -> Tracer | None:
    """The tracer of the provider in use, or None while nobody has set one up."""
    if not _configured and not _BY_ENVIRONMENT and getattr(trace_api, "_TRACER_PROVIDER", trace_api) is None:
        return None  # as asking for it would tell, which looks at the environment each time
    provider = _configured[0] if _configured else trace_api.get_tracer_provider()
    return None if isinstance(provider, trace_api.ProxyTracerProvider) else _tracer_of(provider)


@lru_cache(maxsize=8)
def _tracer_of(provider: TracerProvider) -> Tracer:
    return provider.get_tracer(SCOPE, __version__, schema_url=SCHEMA_URL)
