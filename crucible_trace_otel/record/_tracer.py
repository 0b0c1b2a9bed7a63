"""Where spans are started: through the provider that `configure()` chose, else through OpenTelemetry's global one."""

from functools import lru_cache

from opentelemetry import trace as trace_api
from opentelemetry.trace import Tracer, TracerProvider

from crucible_trace_otel._version import __version__
from crucible_trace_otel.semconv import SCHEMA_URL

__all__ = ["current_tracer", "use_tracer_provider"]

SCOPE = "crucible_trace_otel"
_configured: list[TracerProvider] = []


def use_tracer_provider(provider: TracerProvider | None) -> None:
    """Record through `provider` from now on; through OpenTelemetry's global one when None."""
    _configured[:] = [] if provider is None else [provider]


def current_tracer() -> Tracer | None:
    """The tracer of the provider in use, or None while nobody has set one up."""
    provider = _configured[0] if _configured else trace_api.get_tracer_provider()
    return None if isinstance(provider, trace_api.ProxyTracerProvider) else _tracer_of(provider)


@lru_cache(maxsize=8)
def _tracer_of(provider: TracerProvider) -> Tracer:
    return provider.get_tracer(SCOPE, __version__, schema_url=SCHEMA_URL)
