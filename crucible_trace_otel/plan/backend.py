"""What is asked of a backend, what it answers, and what it can do."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from crucible_trace_otel.plan.checks import (
    Count,
    Flag,
    Name,
    Number,
    Object,
    Objects,
    Text,
    Texts,
    Whole,
    one_of,
)
from crucible_trace_otel.plan.part import Part
from crucible_trace_otel.plan.paths import Problem, shown, within

__all__ = ["Capabilities", "Choice", "Completion", "Message", "Options", "Prompt"]


@dataclass(frozen=True, kw_only=True)
class Options(Part):
    """How a backend is to answer."""

    model: Text = None
    temperature: Number = None
    max_tokens: Count = None
    top_p: Number = None
    top_k: Count = None
    frequency_penalty: Number = None
    presence_penalty: Number = None
    stop: Texts = None
    response_format: Annotated[str | None, one_of("text", "json", "json_schema")] = None
    json_schema: Object = None
    stream: Flag = False
    cache_control: Annotated[str | None, one_of("ephemeral")] = None
    extended_thinking: Flag = False
    thinking_budget_tokens: Count = None
    seed: Whole = None
    timeout_ms: Count = None
    extra: Object = None

    def _own_problems(self, path: str) -> Iterator[Problem]:
        if self.response_format == "json_schema" and self.json_schema is None:
            yield Problem(within(path, "json_schema"), "is required where response_format is json_schema")


@dataclass(frozen=True, kw_only=True)
class Message(Part):
    """One message of a conversation."""

    role: Annotated[str, one_of("system", "user", "assistant", "tool")]
    content: Any
    """Text, or a list of parts, each an object with a `type`."""
    name: Text = None
    tool_calls: Objects = None
    tool_call_id: Text = None

    def _own_problems(self, path: str) -> Iterator[Problem]:
        if isinstance(self.content, tuple):
            check = one_of("text", "image", "audio", "tool_result")
            for at, part in enumerate(self.content):
                wrong = check(part.get("type") if isinstance(part, Mapping) else part)
                if wrong:
                    yield Problem(f"{within(path, 'content')}[{at}].type", wrong)
        elif self.content is not None and not isinstance(self.content, str):
            yield Problem(within(path, "content"), f"must be text or a list of parts, not {shown(self.content)}")


@dataclass(frozen=True, kw_only=True)
class Prompt(Part):
    """What is asked of a backend."""

    messages: tuple[Message, ...] = ()
    system: Text = None
    tools: Objects = None
    tool_choice: Any = None
    """`auto`, `none`, `required`, or an object that names the tool."""
    options: Options | None = None
    request_id: Text = None
    trace_id: Text = None
    metadata: Object = None

    def _own_problems(self, path: str) -> Iterator[Problem]:
        choice = self.tool_choice
        by_name = isinstance(choice, Mapping) and isinstance(choice.get("name"), str)
        if choice is not None and not by_name and (wrong := one_of("auto", "none", "required")(choice)):
            yield Problem(within(path, "tool_choice"), wrong)


@dataclass(frozen=True, kw_only=True)
class Choice(Part):
    """One of the answers to a prompt."""

    index: Count = None
    message: Message | None = None
    finish_reason: Annotated[str | None, one_of("stop", "length", "tool_calls", "content_filter", "error")] = None
    thinking: Object = None


@dataclass(frozen=True, kw_only=True)
class Completion(Part):
    """What a backend answered."""

    choices: tuple[Choice, ...] = ()
    model: Text = None
    usage: Object = None
    latency_ms: Count = None
    time_to_first_token_ms: Count = None
    request_id: Text = None
    trace_id: Text = None
    raw_response: Object = None
    metadata: Object = None


@dataclass(frozen=True, kw_only=True)
class Capabilities(Part):
    """What a backend can do, and what it costs."""

    backend_id: Name
    provider: Name
    models: Texts = ()
    default_model: Text = None
    supports_streaming: Flag = True
    supports_tools: Flag = True
    supports_vision: Flag = False
    supports_audio: Flag = False
    supports_json_mode: Flag = True
    supports_extended_thinking: Flag = False
    supports_caching: Flag = False
    max_tokens: Count = None
    max_context_length: Count = None
    max_images_per_request: Count = None
    requests_per_minute: Count = None
    tokens_per_minute: Count = None
    cost_per_million_input: Number = None
    cost_per_million_output: Number = None
    metadata: Object = None
