"""Calls of language models that no GenAI instrumentation records.

with crucible.llm_call("some-model", provider="somebody") as call:
    for part in stream:
        call.first_token()
    call.record_usage(stream.usage)
chain.form_hypothesis("an LRU dict is enough", thought_in=call)
"""

from typing import TYPE_CHECKING, Any

from crucible_trace_otel.record._guard import forgiving, guarded
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._model_calls import ModelCall, charge_of
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from crucible_trace_otel.record._failure import Outcome
    from crucible_trace_otel.record._model_calls import AnswerDetails

__all__ = ["LlmCall", "llm_call", "record_llm_call"]


class LlmCall(ModelCall):
    """A call of a language model."""

    operation_name = spans.LLM_CALL

    def __init__(
        self,
        model: object,
        *,
        provider: str | None = None,
        about: str | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        self._asked = {name: value for name, value in (("model", model), ("provider", provider)) if value is not None}
        attributes = {attr.GEN_AI_REQUEST_MODEL: model, attr.GEN_AI_PROVIDER_NAME: provider}
        super().__init__(model if about is None else about, attributes=attributes, depends_on=depends_on, links=links)

    def _prepare(self) -> None:
        super()._prepare()
        self._details = dict(self._asked)

    def _counts(self) -> bool:
        return True

    def _state(self, outcome: "Outcome") -> dict[str, Any]:
        told: dict[str, Any] = {}
        if self._charge is None:  # nobody said what it took: that is unknown, and counted
            self._charge = charge_of({**self._details, "usage": None})
            told = self._charge.attributes
        return {**told, **super()._state(outcome)}


@forgiving
def llm_call(
    model: str,
    *,
    provider: str | None = None,
    about: str | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> LlmCall:
    """A call of a language model, to be used in `with`, as a decorator, or by `start()` and `stop()`.

    For calls that no GenAI instrumentation records. Where one does all the same, its span inside this one is the
    call, and this one is not counted a second time.

    Args:
        model: The model that is asked.
        provider: Who offers it; a price table may have several prices of a model.
        about: What is asked, in a few words; the model's name when nobody says.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return LlmCall(model, provider=provider, about=about, depends_on=depends_on, links=links)


@guarded(lambda *_, **__: LlmCall(""))
def record_llm_call(
    model: str,
    *,
    provider: str | None = None,
    usage: Any = None,
    about: str | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
    **details: "Unpack[AnswerDetails]",
) -> LlmCall:
    """Record a call of a language model that is over; what is returned can be named in `thought_in=` and `depends_on=`.

    Args:
        model: The model that was asked.
        provider: Who offers it.
        usage: Its tokens: a `TokenUsage`, or what `TokenUsage.of` understands, such as a library's answer.
        about: What was asked, in a few words.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
        **details: `latency` and `time_to_first_token` in seconds, `cost`, `response_id`, ...: `AnswerDetails`.
    """
    call = LlmCall(model, provider=provider, about=about, depends_on=depends_on, links=links).start()
    call.record_usage(usage, **details)
    call.stop()
    return call
