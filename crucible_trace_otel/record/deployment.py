"""Deployments: a model is brought into service, compared, promoted or taken back.

with crucible.deployment("digits-api", environment="staging", version="2", previous="1", model=saved) as deployment:
    model = deployment.load_model("digits.npz", read=load).value
    deployment.start_canary(0.05)
    with deployment.inference(batch_size=32):
        model.predict(images)
    deployment.promote_canary(depends_on=validation, reason="as accurate, and faster")
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from opentelemetry.trace import SpanContext

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._context import current_operation, innermost
from crucible_trace_otel.record._failure import Outcome
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._links import Causes, Links, LinkTarget, LinkTargets, causes_of, links_with
from crucible_trace_otel.record._living import Living
from crucible_trace_otel.record._online import LearnsOnline
from crucible_trace_otel.record._unexpected import count_in, member_in, number_in, share_in, unexpected
from crucible_trace_otel.record._values import Cleaned, Repairs, clean, printable
from crucible_trace_otel.record.ab_test import ABTest
from crucible_trace_otel.record.facts import Model
from crucible_trace_otel.record.files._files import ModelLoad, StoredFile
from crucible_trace_otel.record.serving._inference import Inference
from crucible_trace_otel.record.serving._rollout import Rollout, version_and_record
from crucible_trace_otel.record.serving._serving import Served, served_by, served_file
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import DeploymentStrategy, LinkType, Result

__all__ = ["Deployment", "Inference", "deployment", "inference"]

_PLAN = (
    attr.CRUCIBLE_DEPLOYMENT_STRATEGY,
    attr.CRUCIBLE_DEPLOYMENT_REPLICA_COUNT,
    attr.CRUCIBLE_DEPLOYMENT_TRAFFIC_SHARE,
)
_SUCCEEDED, _FAILED = "succeeded", "failed"
_started: "Living[Deployment]" = Living()


class _EachInference(NamedTuple):
    """What is the same for all inferences of a deployment."""

    said: dict[str, Any]
    """What they say of the deployment and its model."""
    links: Links
    causes: Causes
    linked: list[tuple[SpanContext, dict[str, Any]]]
    """The links of their spans: the SDK makes a `Link` dearer to use again than to make anew."""
    attributes: Cleaned
    """All attributes that they have in common, as OpenTelemetry carries them."""


class Deployment(Rollout, LearnsOnline):
    """A model brought into service."""

    operation_name = spans.DEPLOYMENT

    def __init__(
        self,
        name: object,
        *,
        environment: str | None = None,
        version: str | None = None,
        strategy: str | None = None,
        replicas: int | None = None,
        traffic_share: float | None = None,
        previous: LinkTarget | None = None,
        model: LinkTarget | Model | os.PathLike[str] | None = None,
        id: str | None = None,  # noqa: A002 - OpenTelemetry's word for it
        reason: str | None = None,
        evaluated_by: LinkTargets | None = None,
        inference_ratio: float | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        repairs: Repairs = {}
        self.version = None if version is None else printable(version)
        self.previous = previous
        self._served = served_by(model, repairs)
        self._ratio = _ratio(repairs, inference_ratio)
        attributes = {
            attr.DEPLOYMENT_NAME: name,
            attr.DEPLOYMENT_ID: id,
            attr.DEPLOYMENT_ENVIRONMENT_NAME: environment,
            attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION: self.version,
            attr.CRUCIBLE_DEPLOYMENT_REASON: reason,
            attr.CRUCIBLE_INFERENCE_SAMPLED_RATIO: self._ratio,
            **self._served.attributes,
            **_plan(repairs, strategy, replicas, traffic_share),
        }
        before, own = _causes(self._served, previous, evaluated_by)
        attributes[attr.CRUCIBLE_DEPLOYMENT_PREVIOUS_VERSION] = before
        super().__init__(
            name, attributes=attributes, repairs=repairs, depends_on=depends_on, links=links_with(own, links)
        )

    def _prepare(self) -> None:
        super()._prepare()
        self._each: _EachInference | None = None

    @property
    def model(self) -> LinkTarget | None:
        """What saved the model that it serves, if that is known; a model it loads takes this place."""
        return self._served.target

    @forgiving
    def load_model(self, path: str | os.PathLike[str], *, read: Callable[[Any], Any] | None = None) -> StoredFile:
        """Record that the model was loaded, with the time it took, its size and its digest.

        Where the file was saved by this package, here or in another process, the deployment is linked to the saving
        (`serves`) and to its training run (`deployed_from`), and a digest that is not the one of then is marked.

        Args:
            path: Its file, or its directory where it has several files.
            read: Called with `path` to read it; the result is the returned object's `.value`.
        """
        loaded = ModelLoad(path, {}, of=self).perform(read)
        self._serve(loaded)
        return loaded

    @guarded(nothing)
    def _serve(self, loaded: StoredFile) -> None:
        """From now on it serves what was loaded."""
        before, self._served = self._served, served_file(loaded)
        linked = {getattr(target, "event_id", target) for target in before.links().values()}
        for link_type, target in self._served.links().items():
            if target.event_id not in linked:
                self.link(link_type, target)
        self._each = None
        self.set(self._served.attributes)

    @forgiving
    def inference(
        self,
        about: str = "inference",
        *,
        batch_size: int | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Inference:
        """One use of the served model: see `crucible.inference`."""
        return Inference(
            about,
            of=self,
            batch_size=batch_size,
            depends_on=depends_on,
            links=links,
        )

    @forgiving
    def a_b_test(
        self,
        name: str,
        *,
        metric: str | None = None,
        higher_is_better: bool | None = None,
        control: str | None = None,
        confidence_level: float = 0.95,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> ABTest:
        """A comparison with another version in service: see `crucible.a_b_test`."""
        return ABTest(
            name,
            of=self,
            metric=metric,
            higher_is_better=higher_is_better,
            control=control,
            confidence_level=confidence_level,
            depends_on=depends_on,
            links=links,
        )

    def _each_inference(self) -> _EachInference:
        """What all its inferences have in common, put together once."""
        if self._each is None:
            said = {
                attr.DEPLOYMENT_NAME: self._given.get(attr.DEPLOYMENT_NAME),
                attr.CRUCIBLE_INFERENCE_SAMPLED_RATIO: self._ratio,
                **self._served.carried(),
            }
            links = {} if self.model is None else {LinkType.SERVES: self.model}
            causes = causes_of("", links=links)
            common = clean({attr.CRUCIBLE_OPERATION_NAME: spans.INFERENCE, **said}) | causes.attributes()
            linked = [(link.context, dict(link.attributes or {})) for link in causes.links]
            self._each = _EachInference(said, links, causes, linked, common)
        return self._each

    def _on_start(self) -> dict[str, Any]:
        is_overlapping = self._overlaps()
        _started.add(self)
        return {attr.CRUCIBLE_DEPLOYMENT_OVERLAPPING: is_overlapping or None}

    @guarded(lambda _: False)
    def _overlaps(self) -> bool:
        """Whether another one of its name is open; a canary beside the one it takes over from is as it should be."""
        others = [each for each in _started if each is not self and each._is_open_beside(self)]
        if all(each is self.previous or each.previous is self for each in others):
            return False
        warn_once(
            f"deployments {self.about}",
            f"Two deployments of {self.about!r} are open at once: both are recorded, the later one is marked. "
            "One that takes over from another says so with previous=.",
        )
        return True

    def _is_open_beside(self, other: "Deployment") -> bool:
        key = attr.DEPLOYMENT_ENVIRONMENT_NAME
        is_same = self.about == other.about and self._given.get(key) == other._given.get(key)
        return is_same and self.is_recording and self._is_here()

    def _state(self, outcome: Outcome) -> dict[str, Any]:
        """Whether it succeeded: not where it ended with an error, nor where it was taken back."""
        if outcome.is_error:
            return {attr.DEPLOYMENT_STATUS: _FAILED}
        if self._is_taken_back:
            return {attr.DEPLOYMENT_STATUS: _FAILED, attr.CRUCIBLE_OPERATION_RESULT: Result.FAILURE}
        return {attr.DEPLOYMENT_STATUS: _SUCCEEDED} if outcome.result == Result.SUCCESS else {}

    def _before_end(self) -> None:
        """By now the digest of a large model is known."""
        self.set(self._served.now())


@guarded(lambda _, *given: dict(zip(_PLAN, given, strict=True)))
def _plan(repairs: Repairs, strategy: Any, replicas: Any, traffic_share: Any) -> dict[str, Any]:
    """How it takes over."""
    strategy_key, replicas_key, share_key = _PLAN
    return {
        strategy_key: member_in(repairs, strategy_key, strategy, DeploymentStrategy),
        replicas_key: count_in(repairs, replicas_key, replicas),
        share_key: share_in(repairs, share_key, traffic_share),
    }


def _no_causes(*_: Any) -> tuple[str | None, dict[str, Any]]:
    """The fallback where they could not be told."""
    return None, {}


@guarded(_no_causes)
def _causes(served: Served, previous: Any, evaluated_by: Any) -> tuple[str | None, dict[str, Any]]:
    """The version it takes over from, and its links."""
    before, replaced = version_and_record(previous)
    links = {**served.links(), LinkType.REPLACES: replaced, LinkType.EVALUATED_BY: evaluated_by}
    return before, {link_type: target for link_type, target in links.items() if target is not None}


def _of_all(*_: Any) -> float | None:
    """The fallback: all of them are recorded."""
    return None


@guarded(_of_all)
def _ratio(repairs: Repairs, given: Any) -> float | None:
    """The share of inferences that are recorded: all of them (None) where it is not given, or cannot be one."""
    key = attr.CRUCIBLE_INFERENCE_SAMPLED_RATIO
    ratio = number_in(repairs, key, given)
    if ratio is None or 0.0 <= ratio <= 1.0:
        return ratio
    unexpected(repairs, key, given, "is a number from 0 to 1", is_kept=False)
    return None


@forgiving
def deployment(
    name: str,
    *,
    environment: str | None = None,
    version: str | None = None,
    strategy: str | None = None,
    replicas: int | None = None,
    traffic_share: float | None = None,
    previous: LinkTarget | None = None,
    model: LinkTarget | Model | os.PathLike[str] | None = None,
    id: str | None = None,  # noqa: A002 - OpenTelemetry's word for it
    reason: str | None = None,
    evaluated_by: LinkTargets | None = None,
    inference_ratio: float | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Deployment:
    """A deployment, to be used in `with`, or by `start()` and `stop()`.

    Args:
        name: The service it brings the model into.
        environment: Where: `staging`, `production`.
        version: The version that serves from now on.
        strategy: How it takes over: `canary`, `blue_green`, `rolling`, `a_b`, `direct`.
        replicas: How many serve.
        traffic_share: The share of the traffic that it gets, from 0 to 1.
        previous: The deployment that it takes over from, or only its version.
        model: What it serves: what saved or loaded it, its path, a `Model` with its digest, or only its name.
        id: Of this deployment, as the tool that deploys calls it.
        reason: Why it is deployed.
        evaluated_by: The validations that judged what it serves.
        inference_ratio: The share of its inferences that are recorded, from 0 to 1; all when not given. Those that fail
            are recorded in any case. It is drawn for each inference; what is recorded inside of one that is not
            recorded lies below the deployment.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return Deployment(
        name,
        environment=environment,
        version=version,
        strategy=strategy,
        replicas=replicas,
        traffic_share=traffic_share,
        previous=previous,
        model=model,
        id=id,
        reason=reason,
        evaluated_by=evaluated_by,
        inference_ratio=inference_ratio,
        depends_on=depends_on,
        links=links,
    )


@guarded(lambda *_, **__: Inference())
@forgiving
def inference(
    about: str = "inference",
    *,
    batch_size: int | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Inference:
    """One use of a served model, linked to what the enclosing deployment serves.

    Args:
        about: What is asked of it, in a few words.
        batch_size: How many inputs.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return Inference(
        about,
        of=innermost(Deployment, current_operation()),
        batch_size=batch_size,
        depends_on=depends_on,
        links=links,
    )
