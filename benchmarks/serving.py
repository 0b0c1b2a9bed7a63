"""What an inference costs in a request path: one that is recorded, and one that is not."""

from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from opentelemetry import trace as trace_api
from opentelemetry.trace import Link, NoOpTracerProvider
from recording import SPANS, repeat
from timing import Comparison, compare

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.record._ids import new_event_id
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.store.journal import decoded

__all__ = ["serving"]

ID, RESULT = attr.CRUCIBLE_EVENT_ID, attr.CRUCIBLE_OPERATION_RESULT
STORED = "the plain SDK's span in a `with`, same attributes and link, same journal"
NOTHING = "the API's own no-op span in a `with`"


def serving(directory: Path) -> list[Comparison]:
    """Against a span of the SDK that carries the same and is stored by the same processor, and the API's no-op.

    Raises:
        ValueError: One that is recorded is not read back, or one that is not to be recorded is.
    """
    journal = directory / "serving"
    handle = crucible.configure(service_name="benchmark", journal=journal, ship="off")
    with crucible.training_run("benchmark", model="softmax") as run:
        model = run.save_model(directory / "model", write=lambda path: path.write_text("weights"), version="3")
    with crucible.deployment("api", model=model) as deployment:
        results = [compare("inference, recorded", SPANS, repeat(SPANS, _used(deployment)), _theirs(deployment), STORED)]
    with crucible.deployment("api", model=model, inference_ratio=0.0) as deployment:
        ours = repeat(SPANS, _used(deployment))
        results.append(compare("inference, not among those that are recorded", SPANS, ours, _nothing(), NOTHING))
    handle.shutdown(30)
    made = SPANS * (len(results[0].ours_us) + 1)
    spans = decoded(read_directory(journal).spans)
    kept = sum(span.name == "inference" and span.scope != "benchmark" for span in spans) - 1  # what theirs is made like
    if kept != made:
        raise ValueError(f"{made} inferences recorded, {kept} read back")
    results[0].kept = f"{kept:,} of {made:,}"
    return results


def _used(deployment: crucible.Deployment) -> Callable[[], None]:
    def ours() -> None:
        with deployment.inference("one", batch_size=32):
            pass

    return ours


def _theirs(deployment: crucible.Deployment) -> Callable[[], int]:
    with deployment.inference("one", batch_size=32) as example:
        pass
    attributes = dict(example.span.attributes)
    links = [(each.context, dict(each.attributes)) for each in example.span.links]
    result, ids = attributes.pop(RESULT), cycle([new_event_id() for _ in range(SPANS)])
    tracer = trace_api.get_tracer("benchmark")

    def theirs() -> None:
        with tracer.start_as_current_span(
            "inference", attributes={**attributes, ID: next(ids)}, links=[Link(*each) for each in links]
        ) as span:
            span.set_attribute(RESULT, result)

    return repeat(SPANS, theirs)


def _nothing() -> Callable[[], int]:
    tracer = NoOpTracerProvider().get_tracer("benchmark")

    def theirs() -> None:
        with tracer.start_as_current_span("inference", attributes={attr.CRUCIBLE_INFERENCE_BATCH_SIZE: 32}):
            pass

    return repeat(SPANS, theirs)
