"""`python -m crucible_trace_otel.cli`."""

from crucible_trace_otel.cli import main

main(prog_name="crucible-trace")
