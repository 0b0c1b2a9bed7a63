"""Journals on disk with known traces in them."""

from collections.abc import Iterable
from pathlib import Path

from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from crucible_trace_otel.journal.segment import SegmentWriter
from crucible_trace_otel.trace.otlp import to_otlp_json
from crucible_trace_otel.trace.spans import Trace
from tests.trace.test_otlp import with_base64_ids


def write(directory: Path, traces: Iterable[Trace]) -> Path:
    """Append `traces` to the journal at `directory`, each in a segment of its own."""
    for trace in traces:
        writer = SegmentWriter(directory)
        parsed = json_format.ParseDict(with_base64_ids(to_otlp_json(trace)), TracesData())
        for resource in parsed.resource_spans:
            bare_resource = type(resource)(resource=resource.resource).SerializeToString()
            for scope in resource.scope_spans:
                bare_scope = type(scope)(scope=scope.scope, schema_url=scope.schema_url).SerializeToString()
                for span in scope.spans:
                    writer.append_span(bare_resource, bare_scope, span.SerializeToString())
        writer.close()
    return directory
