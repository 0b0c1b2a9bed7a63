"""Which tracer provider is recorded through: one of our own, or one that somebody else set up."""

import os
import socket
from types import NoneType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry import trace as trace_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.trace import ProxyTracerProvider

from crucible_trace_otel.errors import ConfigurationError, warn_once
from crucible_trace_otel.record._tracer import current_tracer, use_tracer_provider
from crucible_trace_otel.record._values import clean
from crucible_trace_otel.record.processes._process import process_rank
from crucible_trace_otel.record.steps._keeping import use_step_keeper
from crucible_trace_otel.sdk._ids import RunIdGenerator, id_generator
from crucible_trace_otel.sdk._recorder import Recorder, Switch
from crucible_trace_otel.sdk._settings import Settings, span_limits
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["connect", "foreign_provider", "own_provider", "resource_of"]

_own: "WeakSet[TracerProvider]" = WeakSet()
_switches: "WeakKeyDictionary[Any, Switch]" = WeakKeyDictionary()


def foreign_provider(
    given: trace_api.TracerProvider | None, *, says_who: bool = False
) -> trace_api.TracerProvider | None:
    """The provider that somebody else set up and that a span processor can be added to, if there is one.

    Args:
        given: The one to record through.
        says_who: Whether `configure()` was told what this process is, which such a provider knows already.

    Raises:
        ConfigurationError: The one given takes no span processors.
    """
    if given is not None and not hasattr(given, "add_span_processor"):
        raise ConfigurationError(
            f"tracer_provider={given!r} takes no span processors; give an opentelemetry.sdk.trace.TracerProvider."
        )
    provider = _global_provider() if given is None else given
    if given is None and (not hasattr(provider, "add_span_processor") or provider in _own):
        return None
    if says_who:
        warn_once("resource kept", "The tracer provider that was set up before keeps its service name and resource.")
    return provider


def own_provider(settings: Settings) -> TracerProvider:
    """A provider made for `settings`; OpenTelemetry's global one from now on, where nobody has set that."""
    provider = TracerProvider(
        resource=resource_of(None, settings),
        id_generator=id_generator(),
        span_limits=span_limits(),
        shutdown_on_exit=False,
    )
    _own.add(provider)
    if isinstance(_global_provider(), (ProxyTracerProvider, NoneType)):
        trace_api.set_tracer_provider(provider)
    return provider


def resource_of(provider: Any, settings: Settings) -> Resource:
    """What `provider` says of this process; where it says nothing, what `settings` do."""
    own = getattr(provider, "resource", None)
    if isinstance(own, Resource):
        return own
    return Resource(clean(_place())).merge(Resource.create(clean(settings.resource_attributes)))


def _place() -> dict[str, Any]:
    """Which process of a distributed run this is, and on which machine; what somebody has said of it counts first."""
    rank = process_rank(anew=True)
    return {} if rank is None else {**rank.attributes(), attr.HOST_NAME: socket.gethostname()}


def _global_provider() -> trace_api.TracerProvider | None:
    """OpenTelemetry's global provider; None where a variable names one that cannot be loaded."""
    try:
        return trace_api.get_tracer_provider()
    except Exception as error:  # noqa: BLE001 - the code of another package runs here
        warn_once(
            "global provider",
            f"OTEL_PYTHON_TRACER_PROVIDER={os.environ.get('OTEL_PYTHON_TRACER_PROVIDER')!r} cannot be used "
            f"({type(error).__name__}); a provider of the SDK is used instead.",
        )
        return None


def _use_our_ids() -> None:
    """Have our tracer of a provider that somebody else set up give the ids that runs ask for; its others stay."""
    tracer: Any = current_tracer()
    own = getattr(tracer, "id_generator", None)
    if isinstance(own, IdGenerator) and not isinstance(own, RunIdGenerator):
        tracer.id_generator = RunIdGenerator(None if type(own) is RandomIdGenerator else own)


def connect(provider: Any, recorder: Recorder) -> None:
    """Record through `provider`; let `recorder` have its spans, and those of every provider recorded through before."""
    if provider not in _switches:
        _switches[provider] = Switch(recorder)
        provider.add_span_processor(_switches[provider])
    for switch in _switches.values():
        switch.use(recorder)
    use_tracer_provider(provider)
    _use_our_ids()
    use_step_keeper(recorder.steps)
