"""What all tests share: a clean recorder before each of them, and `recorded`, which keeps what a test records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.util._once import Once

from crucible_trace_otel import errors
from crucible_trace_otel.journal.sizes import DEFAULT_BUDGET, TRACES, TraceSizes
from crucible_trace_otel.record import _artifacts, _files, _links
from crucible_trace_otel.record._event_log import use_event_log
from crucible_trace_otel.record._keeping import use_step_keeper
from crucible_trace_otel.record._metrics import use_meter_provider
from crucible_trace_otel.record._tracer import use_tracer_provider
from tests.record.reading import Recording

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _clean_recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing said, nothing remembered, no span current, no provider: each test begins like a process does."""
    for name in ("TRACEPARENT", "TRACESTATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER_SET_ONCE", Once())
    errors._said.clear()
    _links._known.clear()
    _files._saved.clear()
    _artifacts._made.clear()
    use_tracer_provider(None)
    use_step_keeper(None)
    use_event_log(None)
    use_meter_provider(None)
    vars(TRACES).update(vars(TraceSizes(DEFAULT_BUDGET)))
    context_api.attach(Context())
    yield
    use_event_log(None)
    use_meter_provider(None)
    use_tracer_provider(None)
    use_step_keeper(None)
    context_api.attach(Context())


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """What the test records, through the SDK and nothing of ours behind it."""
    recording = Recording()
    use_tracer_provider(recording.provider)
    yield recording
    recording.provider.shutdown()


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the package has warned about, in order; filled while the test goes on."""
    said: list[str] = []
    caplog.set_level("WARNING", logger=errors.logger.name)
    emit = caplog.handler.emit

    def listen(record: object) -> None:
        if getattr(record, "name", "") == errors.logger.name:
            said.append(record.getMessage())  # type: ignore[attr-defined]
        emit(record)  # type: ignore[arg-type]

    caplog.handler.emit = listen  # type: ignore[method-assign]
    return said
