"""Keep: every ended span in an append-only file of this process, before `end()` returns.

`records` is the format, `segment` the writer, `reader` the reader, `processor` the seam to the OpenTelemetry SDK.
The format is documented in docs/journal-format.md.
"""
