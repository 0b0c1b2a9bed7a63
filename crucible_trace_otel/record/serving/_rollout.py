"""What becomes of a deployment in service: it serves, its canary is promoted or rejected, it is taken back.

Each is a record of its own, which is sent at once and which later records can depend on.
"""

from collections.abc import Mapping
from typing import Any

from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._links import Links, LinkTarget, LinkTargets, is_known, links_with
from crucible_trace_otel.record._moments import record_moment
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._unexpected import count_in, share_in
from crucible_trace_otel.record._values import Repairs, clean, printable
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType

__all__ = ["Rollout", "version_and_record"]

_SHARE = attr.CRUCIBLE_DEPLOYMENT_TRAFFIC_SHARE
_REPLICAS = attr.CRUCIBLE_DEPLOYMENT_REPLICA_COUNT
_NAMED_BY = (attr.DEPLOYMENT_NAME, attr.DEPLOYMENT_ID, attr.DEPLOYMENT_ENVIRONMENT_NAME)


class Rollout(Operation):
    """A deployment, by what becomes of it."""

    version: str | None
    previous: Any

    def _prepare(self) -> None:
        super()._prepare()
        self._is_taken_back = False

    @guarded(not_recorded(spans.SERVING_STARTED))
    def start_serving(
        self,
        *,
        replicas: int | None = None,
        traffic_share: float | None = None,
        reason: str | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Recorded:
        """Record that it answers requests from now on.

        Args:
            replicas: How many serve.
            traffic_share: The share of the traffic that it gets, from 0 to 1.
            reason: Why now.
            depends_on: Records it rests on, such as the model that was loaded.
            links: Other causal links: link type to its target or targets.
        """
        given = {
            _REPLICAS: replicas,
            _SHARE: traffic_share,
        }
        return self._record(spans.SERVING_STARTED, "serving", given, reason, depends_on=depends_on, links=links)

    @guarded(not_recorded(spans.CANARY_STARTED))
    def start_canary(
        self,
        traffic_share: float | None = None,
        *,
        reason: str | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Recorded:
        """Record that it gets a small share of the traffic, to be watched.

        Args:
            traffic_share: From 0 to 1.
            reason: Why.
            depends_on: Records it rests on.
            links: Other causal links: link type to its target or targets.
        """
        given = {_SHARE: traffic_share}
        return self._record(spans.CANARY_STARTED, "canary", given, reason, depends_on=depends_on, links=links)

    @guarded(not_recorded(spans.CANARY_PROMOTED))
    def promote_canary(
        self,
        traffic_share: float = 1.0,
        *,
        reason: str | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Recorded:
        """Record that the canary gets more of the traffic, or all of it.

        Args:
            traffic_share: That it gets from now on, from 0 to 1.
            reason: Why.
            depends_on: The evidence: an A/B test, a validation.
            links: Other causal links: link type to its target or targets.
        """
        given = {_SHARE: traffic_share}
        return self._record(spans.CANARY_PROMOTED, "canary promoted", given, reason, depends_on=depends_on, links=links)

    @guarded(not_recorded(spans.CANARY_REJECTED))
    def reject_canary(
        self,
        *,
        reason: str | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Recorded:
        """Record that the canary is not promoted and gets no more traffic: the deployment has failed.

        Args:
            reason: Why.
            depends_on: The evidence: an A/B test, a validation.
            links: Other causal links: link type to its target or targets.
        """
        self._is_taken_back = True
        given = {_SHARE: 0.0}
        return self._record(spans.CANARY_REJECTED, "canary rejected", given, reason, depends_on=depends_on, links=links)

    @guarded(not_recorded(spans.DEPLOYMENT_ROLLBACK))
    def roll_back(
        self,
        to: "LinkTarget | None" = None,
        *,
        reason: str | None = None,
        caused_by: LinkTargets | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Recorded:
        """Record that it was taken back: the deployment has failed.

        Args:
            to: The deployment (or its version) that serves again; the one it took over from when not given.
            reason: Why.
            caused_by: What made it necessary: an A/B test, an inference, a stage that failed.
            depends_on: Records it rests on.
            links: Other causal links: link type to its target or targets.
        """
        self._is_taken_back = True
        version, target = version_and_record(self.previous if to is None else to)
        own = {LinkType.ROLLED_BACK_TO: target, LinkType.CAUSED_BY: caused_by}
        given = {
            attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION: version,
            attr.CRUCIBLE_DEPLOYMENT_PREVIOUS_VERSION: self.version,
        }
        about = "rolled back" if version is None else f"rolled back to {version}"
        known = {link_type: target for link_type, target in own.items() if target is not None}
        return self._record(
            spans.DEPLOYMENT_ROLLBACK, about, given, reason, depends_on=depends_on, links=links_with(known, links)
        )

    def _record(
        self,
        name: str,
        about: str,
        given: Mapping[str, Any],
        reason: str | None,
        **causes: Any,
    ) -> Recorded:
        """Record one of these; what it says of traffic and replicas holds for the deployment from now on."""
        repairs: Repairs = {}
        share = share_in(repairs, _SHARE, given.get(_SHARE))
        now = {_SHARE: share, _REPLICAS: count_in(repairs, _REPLICAS, given.get(_REPLICAS))}
        if not self.ended:
            self.set(now)
        attributes = {
            **{key: self._given.get(key) for key in _NAMED_BY},
            attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION: self.version,
            attr.CRUCIBLE_DEPLOYMENT_REASON: reason,
            **given,
            **now,
        }
        said = f"{self.about}: {about}" if share is None else f"{self.about}: {about}, {share:.0%} of the traffic"
        said = said if reason is None else f"{said}: {printable(reason)}"
        return record_moment(self, name, said, clean(attributes, repairs), **causes)


def version_and_record(given: Any) -> tuple[str | None, Any]:
    """What names a deployment, as version and as something to link to: the deployment itself, or a text.

    A text is a version, unless something was recorded under it as an event id.
    """
    if given is None:
        return None, None
    if isinstance(given, str):
        return (None, given) if is_known(given) else (given, None)
    version = getattr(given, "version", None)
    if version is None and not hasattr(given, "span_context") and not hasattr(given, "span_id"):
        return printable(given), None  # a version that is a number
    return None if version is None else printable(version), given
