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
from crucible_trace_otel.record import _links
from crucible_trace_otel.record import deployment as _deployment
from crucible_trace_otel.record import distributed as _distributed
from crucible_trace_otel.record._event_log import use_event_log
from crucible_trace_otel.record._metrics import use_meter_provider
from crucible_trace_otel.record._model_calls import use_prices
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.files import _files
from crucible_trace_otel.record.processes._process import use_process_rank
from crucible_trace_otel.record.runs import _resuming
from crucible_trace_otel.record.stages import _artifacts
from crucible_trace_otel.record.steps._keeping import use_step_keeper
from tests.record.reading import Recording

if TYPE_CHECKING:
    from collections.abc import Iterator


LAUNCHER_VARIABLES = (
    *("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
    *("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "HOROVOD_RANK", "JOB_COMPLETION_INDEX"),
)


@pytest.fixture(autouse=True)
def _clean_recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing said, nothing remembered, no span current, no provider: each test begins like a process does."""
    for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE", "CRUCIBLE_RUN_ID", *LAUNCHER_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace_api, "_TRACER_PROVIDER_SET_ONCE", Once())
    errors._said.clear()
    _links._known.clear()
    _files._saved.clear()
    _resuming._begun.clear()
    _resuming._claimed.clear()
    _distributed._outside.clear()
    _deployment._started._found.clear()
    use_process_rank(None)
    _artifacts._made.clear()
    use_tracer_provider(None)
    use_step_keeper(None)
    use_event_log(None)
    use_meter_provider(None)
    use_prices(None)
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
def warned(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the package has warned about, in order; filled while the test goes on."""
    said: list[str] = []
    caplog.set_level("WARNING", logger=errors.logger.name)
    emit = caplog.handler.emit

    def listen(record: object) -> None:
        if getattr(record, "name", "") == errors.logger.name:
            said.append(record.getMessage())  # type: ignore[attr-defined]
        emit(record)  # type: ignore[arg-type]

    monkeypatch.setattr(caplog.handler, "emit", listen)  # one handler serves all tests
    return said
