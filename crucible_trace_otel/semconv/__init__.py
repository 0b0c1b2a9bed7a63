# GENERATED from semconv/model by `python semconv/generate.py`. Do not edit: change the model and run it again.
"""The convention: every name this package writes, generated from the model in semconv/."""

from typing import Final

SCHEMA_URL: Final = "https://crucible-trace-otel.example/schemas/0.1.0"
"""Identifies the convention and its version; set on every instrumentation scope."""
