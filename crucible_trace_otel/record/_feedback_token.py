"""Feedback tokens: which record feedback is about, as a text that goes through web pages, mails and databases.

    version | flags | trace id, 16 bytes | span id, 8 | event id, 16 | check, 18

As base64url, 80 characters; zeros for what is not known. The check is the beginning of a SHA-256, or of an HMAC-SHA256
where `CRUCIBLE_FEEDBACK_KEY` is set: then nobody without the key can make a token. Ids are all that a token says.
"""

import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from opentelemetry.trace import SpanContext, TraceFlags

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.semconv.enums import UnlinkedReason

__all__ = ["BadTokenError", "FeedbackTarget", "decode", "encode"]

_KEY = "CRUCIBLE_FEEDBACK_KEY"
_VERSION: Final = 1
_RECORDED, _SIGNED = 1, 2
_SAID, _CHECK = 42, 18
_PURPOSE: Final = b"crucible.feedback\0"
_FORM = re.compile(r"[A-Za-z0-9_-]{80}")  # the decoder leaves out what is no such character
_EVENT_ID = re.compile(r"[0-9a-f]{32}")


class BadTokenError(FormatError):
    """A text is no token that can be believed.

    Args:
        reason: A value of `crucible.feedback.unlinked`.
        sentence: The same for people.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackTarget:
    """What a feedback token says: where to find the record that it is about."""

    trace_id: str
    """32 hex digits; zeros where it was not recorded at all."""
    span_id: str
    """16 hex digits."""
    event_id: str
    """32 hex digits; empty for a span of another instrumentation."""
    is_recorded: bool
    """False where nothing was set up to record it, or it was sampled out: then there is nothing to link to."""

    @property
    def span_context(self) -> SpanContext:
        """The span that carries it."""
        flags = TraceFlags(TraceFlags.SAMPLED if self.is_recorded else TraceFlags.DEFAULT)
        return SpanContext(int(self.trace_id, 16), int(self.span_id, 16), is_remote=True, trace_flags=flags)


def encode(context: SpanContext, event_id: str) -> str:
    """The token of a record.

    Args:
        context: Its span.
        event_id: Its id; what is no such id is left out.
    """
    key = _key()
    is_recorded = context.is_valid and context.trace_flags.sampled
    flags = _RECORDED * is_recorded | _SIGNED * bool(key)
    ids = context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")
    event = bytes.fromhex(event_id) if _EVENT_ID.fullmatch(event_id) else bytes(16)
    said = bytes((_VERSION, flags)) + ids + event
    return urlsafe_b64encode(said + _check(said, key)).decode("ascii")


def decode(token: object) -> FeedbackTarget:
    """What a token says.

    Raises:
        BadTokenError: It was changed or cut, is none, is not signed by the key that is set here, or by one where none
            is, or a later version of this package made it.
    """
    if not isinstance(token, str) or not _FORM.fullmatch(token):
        raise BadTokenError(UnlinkedReason.FORM, "It is no feedback token: that has 80 letters, digits, `-` and `_`.")
    data = urlsafe_b64decode(token)
    said, check = data[:_SAID], data[_SAID:]
    version, flags = said[0], said[1]
    if version != _VERSION:
        raise BadTokenError(
            UnlinkedReason.VERSION, f"The feedback token has version {version}; {_VERSION} is read here."
        )
    key = _key()
    if bool(key) != bool(flags & _SIGNED):
        raise (
            BadTokenError(UnlinkedReason.UNSIGNED, f"The feedback token is not signed, and {_KEY} is set here.")
            if key
            else BadTokenError(UnlinkedReason.KEYLESS, f"The feedback token is signed, and {_KEY} is not set here.")
        )
    if not hmac.compare_digest(check, _check(said, key)):
        other = ", or signed with another key" if key else ""
        raise BadTokenError(UnlinkedReason.CHANGED, f"The feedback token was changed{other}.")
    trace_id, span_id, event_id = said[2:18].hex(), said[18:26].hex(), said[26:].hex()
    target = FeedbackTarget(
        trace_id=trace_id,
        span_id=span_id,
        event_id=event_id if event_id.strip("0") else "",
        is_recorded=bool(flags & _RECORDED),
    )
    if target.is_recorded and not target.span_context.is_valid:  # without a key anybody can compute a check
        raise BadTokenError(UnlinkedReason.CHANGED, "The feedback token names no span.")
    return target


def _key() -> bytes:
    """The key that signs; empty where none is set."""
    return os.fsencode(os.environ.get(_KEY, ""))


def _check(said: bytes, key: bytes) -> bytes:
    whole = hmac.digest(key, _PURPOSE + said, "sha256") if key else sha256(_PURPOSE + said).digest()
    return whole[:_CHECK]
