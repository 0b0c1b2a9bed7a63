"""What importing and configuring cost, each in a process of its own."""

import os
import subprocess
import sys
import tempfile

import timing
from timing import Comparison

__all__ = ["starting"]

IMPORT = "import crucible_trace_otel"
IMPORT_API = "import opentelemetry.trace"
CONFIGURE = 'import crucible_trace_otel as crucible; crucible.configure(service_name="benchmark")'
CONFIGURE_SDK = """
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
provider = TracerProvider(resource=Resource.create({"service.name": "benchmark"}), shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
"""
TIMED = "import time\nbefore = time.process_time_ns()\n{}\nprint(time.process_time_ns() - before)"


def starting() -> list[Comparison]:
    """Importing against OpenTelemetry's API; `configure()` against the plain SDK with its OTLP exporter."""
    imports = Comparison("import", "import of OpenTelemetry's API", 1)
    configures = Comparison("import and `configure()`", "import and set-up of the plain SDK with OTLP over HTTP", 1)
    work = [
        (IMPORT, imports.ours_us),
        (IMPORT_API, imports.reference_us),
        (CONFIGURE, configures.ours_us),
        (CONFIGURE_SDK, configures.reference_us),
    ]
    with tempfile.TemporaryDirectory() as place:
        for number in range(timing.ROUNDS + 1):
            for code, results in work:
                microseconds = _microseconds(code, place)
                if number:  # the first round only fills the caches
                    results.append(microseconds)
    return [imports, configures]


def _microseconds(code: str, place: str) -> float:
    """The CPU time that `code` takes in a fresh interpreter, which keeps what it compiles."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    finished = subprocess.run(
        [sys.executable, "-c", TIMED.format(code)],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(finished.stdout) / 1_000
