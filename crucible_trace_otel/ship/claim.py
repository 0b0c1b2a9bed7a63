"""Where what a directory holds is to be sent, and whose word counts where programs say different things: the newest."""

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from crucible_trace_otel.ship.destination import Destination

__all__ = ["Claim"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A destination, and since when a program wants it; stands in the lease of who sends there.

    Of the headers nothing is written but a salted digest: who knows a destination can tell whether it is this one.
    """

    destination: Destination
    since: int = 0
    """When that program was configured, nanoseconds on the monotonic clock of the machine; 0 gives way to everyone."""

    def written(self) -> dict[str, Any]:
        """What a lease says of it."""
        salt = os.urandom(16).hex()
        return {
            "to": self.destination.shown,
            "since": self.since,
            "salt": salt,
            "destination": self._fingerprint(salt),
        }

    def outranks(self, other: Mapping[str, Any]) -> bool:
        """Whether the lease `other` is of who sends elsewhere, because an older configuration says so."""
        return self._differs(other) and self.since > other["since"]

    def gives_way_to(self, other: Mapping[str, Any]) -> bool:
        """Whether the lease `other` is of who sends elsewhere, because a newer configuration says so."""
        return self._differs(other) and self.since < other["since"]

    def is_the_same(self, other: Mapping[str, Any]) -> bool:
        """Whether the lease `other` is of who sends to this destination."""
        salt = other.get("salt")
        return isinstance(salt, str) and other.get("destination") == self._fingerprint(salt)

    def _differs(self, other: Mapping[str, Any]) -> bool:
        """Whether the destination is another, as far as the lease says where it sends."""
        return isinstance(other.get("salt"), str) and type(other.get("since")) is int and not self.is_the_same(other)

    def _fingerprint(self, salt: str) -> str:
        settings = {**asdict(self.destination), "paths": ()}  # where packages lie is no part of where to
        return hmac.digest(salt.encode(), json.dumps(settings, sort_keys=True).encode(), "sha256").hex()
