"""Deployments: a model is loaded and serves.

with crucible.deployment("digits-api", environment="staging", model=saved) as deployment:
    model = deployment.load_model("digits.npz", read=load).value
    with deployment.inference(batch_size=32):
        model.predict(images)
"""

import os
from collections.abc import Callable
from typing import Any

from crucible_trace_otel.record._context import current_operation
from crucible_trace_otel.record._files import ModelLoad, StoredFile, saved_at
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._links import Links, LinkTarget, LinkTargets, links_with
from crucible_trace_otel.record._model_calls import ModelCall
from crucible_trace_otel.record._online import LearnsOnline
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType

__all__ = ["Deployment", "Inference", "deployment", "inference"]


class Inference(ModelCall):
    """One use of a served model."""

    operation_name = spans.INFERENCE

    def __init__(
        self,
        about: object = "inference",
        *,
        of: "Deployment | None" = None,
        batch_size: int | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        attributes = {attr.CRUCIBLE_INFERENCE_BATCH_SIZE: batch_size}
        super().__init__(about, attributes=attributes, depends_on=depends_on, links=links)
        self._within = of


class Deployment(LearnsOnline):
    """A model brought into service."""

    operation_name = spans.DEPLOYMENT

    def __init__(
        self,
        name: object,
        *,
        environment: str | None = None,
        version: str | None = None,
        model: LinkTarget | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        attributes = {
            attr.DEPLOYMENT_NAME: name,
            attr.DEPLOYMENT_ENVIRONMENT_NAME: environment,
            attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION: version,
            attr.CRUCIBLE_MODEL_NAME: model if isinstance(model, str) else None,
        }
        model = None if isinstance(model, str) else model
        serves = {} if model is None else {LinkType.SERVES: model}
        super().__init__(name, attributes=attributes, depends_on=depends_on, links=links_with(serves, links))
        self.model = model
        """What it serves; a model it loads takes this place."""

    @forgiving
    def load_model(self, path: str | os.PathLike[str], *, read: Callable[[Any], Any] | None = None) -> StoredFile:
        """Record that the model was loaded; the deployment is linked to the saved file it serves, if that is known.

        Args:
            path: Its file.
            read: Called with `path` to read it; the result is the returned object's `.value`.
        """
        loaded = ModelLoad(path, {}, within=self).perform(read)
        self._serve(loaded.path)
        return loaded

    @guarded(nothing)
    def _serve(self, path: str) -> None:
        saved = saved_at(path)
        if saved is not None and saved.event_id != getattr(self.model, "event_id", None):
            self.model = saved
            self.link(LinkType.SERVES, saved)

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
        serves = {} if self.model is None else {LinkType.SERVES: self.model}
        return Inference(about, of=self, batch_size=batch_size, depends_on=depends_on, links=links_with(serves, links))


@forgiving
def deployment(
    name: str,
    *,
    environment: str | None = None,
    version: str | None = None,
    model: LinkTarget | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Deployment:
    """A deployment, to be used in `with`, or by `start()` and `stop()`.

    Args:
        name: The service it brings the model into.
        environment: Where: `staging`, `production`.
        version: The version that serves from now on.
        model: The saved model or checkpoint it serves, or only its name.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return Deployment(name, environment=environment, version=version, model=model, depends_on=depends_on, links=links)


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
    serving = current_operation()
    while serving is not None and not isinstance(serving, Deployment):
        serving = serving.outer
    if serving is not None:
        return serving.inference(about, batch_size=batch_size, depends_on=depends_on, links=links)
    return Inference(about, batch_size=batch_size, depends_on=depends_on, links=links)
