"""Learning from rewards: episodes, the experience that is drawn from them, and what the policy becomes by it.

with crucible.training_run("grid world") as run:
    with run.episode(policy_version="7") as episode:
        episode.record_reward(-1.0)
    batch = run.sample_experience(32, buffer_size=1_000, sampled_from=episode)
    run.update_policy("8", sampled_from=batch, loss=0.3)
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any

from crucible_trace_otel.record._context import current_operation, innermost
from crucible_trace_otel.record._doubles import doubles, metric_attributes
from crucible_trace_otel.record._experience import experience_attributes, sources_of
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._links import Links, LinkTargets, links_with
from crucible_trace_otel.record._moments import record_moment
from crucible_trace_otel.record._online import LearnsOnline
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._scored import Scored
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.steps._abnormal import StepWatch
from crucible_trace_otel.record.steps._policy import WindowPolicy, policy_of
from crucible_trace_otel.record.steps._stepping import Stepping
from crucible_trace_otel.record.steps._totals import StepTotals
from crucible_trace_otel.record.steps._windows import StepWindows
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import LinkType

__all__ = ["Acting", "Episode", "Learning", "PolicyUpdate", "episode"]

_REWARD = "reward"
_NOT_GIVEN: Any = object()
_episodes = count()
_KNOWN_METRICS = {
    "kl": attr.CRUCIBLE_POLICY_KL,
    "entropy": attr.CRUCIBLE_POLICY_ENTROPY,
    "learning_rate": attr.CRUCIBLE_TRAINING_LEARNING_RATE,
    "gradient_norm": attr.CRUCIBLE_TRAINING_GRADIENT_NORM,
    "loss": attr.CRUCIBLE_TRAINING_LOSS_VALUE,
}
"""Numbers of a policy update that have a name of their own in the convention."""


class PolicyUpdate(LearnsOnline, Scored):
    """A policy is changed by what it has met.

    Of its metrics, `loss`, `learning_rate`, `gradient_norm`, `kl` (divergence of the new policy from the old one) and
    `entropy` have attributes of their own; others are metrics of yours, such as `clip_fraction=0.1`.
    """

    operation_name = spans.POLICY_UPDATE

    def __init__(
        self,
        version: object = None,
        *,
        of: Operation,
        samples: int | None = None,
        sampled_from: LinkTargets | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        sources = sources_of(sampled_from)
        super().__init__(
            _version_said(version),
            of=of,
            attributes=_update_attributes(version, samples) | sources.attributes,
            depends_on=depends_on,
            links=links_with(sources.links, links),
        )

    def _metric_attributes(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        return _numbers_told(metrics)


class Learning(Operation):
    """What experience is drawn in, and a policy is updated in: a training run, an epoch, an episode."""

    @forgiving
    def policy_update(
        self,
        version: object = None,
        *,
        samples: int | None = None,
        sampled_from: LinkTargets | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> PolicyUpdate:
        """A change of the policy that takes its time, to be used in `with`; `update_policy` records one that is over.

            with run.policy_update("42", sampled_from=batch) as update:
                update.record_metric(loss=optimise(policy), kl=0.01)

        Args:
            version: What the policy is called after it.
            samples: How many samples it learns from.
            sampled_from: The experience it learns from: what `sample_experience` returned, or episodes.
            depends_on: Other records it rests on.
            links: Other causal links: link type to its target or targets.
        """
        return PolicyUpdate(
            version, of=self, samples=samples, sampled_from=sampled_from, depends_on=depends_on, links=links
        )

    @guarded(not_recorded(spans.POLICY_UPDATE))
    def update_policy(
        self,
        version: object = None,
        *,
        samples: int | None = None,
        sampled_from: LinkTargets | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
        **metrics: Any,
    ) -> Recorded:
        """Record that the policy was changed; `policy_update` measures how long that takes.

        Args:
            version: What it is called now.
            samples: How many samples it learned from.
            sampled_from: The experience it learned from: what `sample_experience` returned, or episodes.
            depends_on: Other records it rests on.
            links: Other causal links: link type to its target or targets.
            **metrics: What it did, as for a `PolicyUpdate`: `loss=0.3, kl=0.01`.
        """
        sources = sources_of(sampled_from)
        return record_moment(
            self,
            spans.POLICY_UPDATE,
            _version_said(version),
            {**_update_attributes(version, samples), **sources.attributes, **_numbers_told(metrics)},
            depends_on=depends_on,
            links=links_with(sources.links, links),
        )

    @guarded(not_recorded(spans.EXPERIENCE_SAMPLE))
    def sample_experience(
        self,
        count: int,
        *,
        buffer_size: int | None = None,
        priorities: Iterable[float] | None = None,
        priority_mean: float | None = None,
        sampled_from: LinkTargets | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Recorded:
        """Record that experience was drawn from a replay buffer; what this returns tells a policy update of it.

        Args:
            count: How many were drawn.
            buffer_size: How many the buffer holds.
            priorities: Those of the drawn ones, of which the mean is recorded.
            priority_mean: Their mean, where it is known already.
            sampled_from: The episodes they are from, each as often as you like. The last hundred different ones are
                linked; how many there are is recorded.
            depends_on: Records it rests on.
            links: Other causal links: link type to its target or targets.
        """
        sources = sources_of(sampled_from)
        attributes = experience_attributes(count, buffer_size, priorities, priority_mean)
        return record_moment(
            self,
            spans.EXPERIENCE_SAMPLE,
            f"{printable(count)} of {'a buffer' if buffer_size is None else printable(buffer_size)}",
            {**attributes, attr.CRUCIBLE_EXPERIENCE_EPISODE_COUNT: sources.different, **sources.attributes},
            depends_on=depends_on,
            links=links_with(sources.links, links),
        )


class Episode(Stepping, Learning):
    """One episode of an agent in its environment."""

    operation_name = spans.EPISODE
    step_event = events.REWARD_RECEIVED
    _called = MappingProxyType({"record_step": "record_reward", "step_recorder": "reward_recorder"})

    def __init__(
        self,
        index: int | None = None,
        *,
        of: "Operation | None" = None,
        policy_version: object = None,
        windows: WindowPolicy | None = None,
        rewarded_by: LinkTargets | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        self.index = next(_episodes) if index is None else index
        """Which one it is, from 0."""
        self._policy = policy_of(windows)
        attributes = {
            attr.CRUCIBLE_EPISODE_INDEX: self.index,
            attr.CRUCIBLE_POLICY_VERSION: None if policy_version is None else printable(policy_version),
        }
        rewarded = {} if rewarded_by is None else {LinkType.REWARDED_BY: rewarded_by}
        super().__init__(
            f"episode {printable(self.index)}",
            of=of,
            attributes=attributes,
            depends_on=depends_on,
            links=links_with(rewarded, links),
        )

    def _prepare(self) -> None:
        super()._prepare()
        self._next_step = 0
        self._run = self
        self._totals = StepTotals()
        watch = StepWatch(self._policy, self.about, self.step_event)
        self._windows = StepWindows(self, watch, self._totals)

    def record_reward(
        self, reward: float = _NOT_GIVEN, /, *misplaced: Any, step: int | None = None, **numbers: Any
    ) -> None:
        """Record the reward of one step; every one can be read back, by `step_rows(trace, "reward_received")`.

        Under `configure()` it is kept before this returns: a process killed right after it loses nothing.
        `reward_recorder` makes a cheaper form of it. A reward that is not finite is kept, and marked as abnormal.

        Args:
            reward: The reward.
            *misplaced: Nothing: other numbers are given by name.
            step: Its index in the episode; one more than the highest when not given.
            **numbers: What else was measured in this step, by name: `value=0.4, action=2`.
        """
        if reward is not _NOT_GIVEN and _REWARD not in numbers:
            self._take_step(misplaced, step, {_REWARD: reward, **numbers})
        else:  # given by its name, not at all, or twice
            self._take_step(misplaced if reward is _NOT_GIVEN else (reward, *misplaced), step, numbers)

    @guarded(lambda *_, **__: nothing)
    def reward_recorder(self, *names: str) -> Callable[..., None]:
        """A function that records one step each time it is called with its reward, then the values of `names`.

            record = episode.reward_recorder("action")
            record(-1.0, 2)

        Args:
            *names: Of other numbers of each step.
        """
        return self._step_recorder(_REWARD, *names)

    def _tell_late(self, name: str, attributes: Mapping[str, Any]) -> None:
        """With the reward by its own name: no window holds it."""
        known = {
            attr.CRUCIBLE_EPISODE_INDEX: self.index,
            attr.CRUCIBLE_REWARD_VALUE: attributes.get(f"{attr.CRUCIBLE_WINDOW_LAST_TEMPLATE}.{_REWARD}"),
        }
        super()._tell_late(name, {**attributes, **known})

    def _before_end(self) -> None:
        """Close its windows, and say how long it was and what it came to."""
        self._windows.close()
        rewards = self._totals.sums.get(_REWARD)
        self.set(
            {
                **self._totals.attributes(),
                attr.CRUCIBLE_EPISODE_LENGTH: self._totals.steps,
                attr.CRUCIBLE_EPISODE_RETURN: None if rewards is None else rewards[1],
                attr.CRUCIBLE_ABNORMAL_COUNT: self._windows.abnormal or None,
            }
        )


class Acting(Learning):
    """What episodes belong to: a training run, or one of its epochs."""

    _run: Any
    """The training run, which counts them."""
    _policy: WindowPolicy
    _episodes: Iterator[int]

    @forgiving
    def episode(
        self,
        index: int | None = None,
        *,
        policy_version: object = None,
        windows: WindowPolicy | None = None,
        rewarded_by: LinkTargets | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Episode:
        """One episode that belongs to this run: see `crucible.episode`."""
        return Episode(
            next(self._run._episodes) if index is None else index,
            of=self,
            policy_version=policy_version,
            windows=self._run._policy if windows is None else windows,
            rewarded_by=rewarded_by,
            depends_on=depends_on,
            links=links,
        )


@forgiving
def episode(
    index: int | None = None,
    *,
    policy_version: object = None,
    windows: WindowPolicy | None = None,
    rewarded_by: LinkTargets | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Episode:
    """One episode of an agent in its environment, to be used in `with`, or by `start()` and `stop()`.

        with crucible.episode(policy_version="7") as episode:
            episode.record_reward(-1.0)

    Its length and its return, the sum of its finite rewards, are recorded at its end.

    Args:
        index: Which one it is, from 0; the next one of the training run around it, or else of this process, when not
            given.
        policy_version: The policy that acts in it.
        windows: How rewards are put together, and which steps are abnormal; as the training run does, when not given.
        rewarded_by: What the rewards come from, such as the inference of a model that judges.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    around = innermost(Acting, current_operation())
    return (Episode if around is None else around.episode)(
        index,
        policy_version=policy_version,
        windows=windows,
        rewarded_by=rewarded_by,
        depends_on=depends_on,
        links=links,
    )


def _version_said(version: object) -> str:
    return "policy" if version is None else f"policy {printable(version)}"


def _update_attributes(version: object, samples: int | None) -> dict[str, Any]:
    return {
        attr.CRUCIBLE_POLICY_VERSION: None if version is None else printable(version),
        attr.CRUCIBLE_EXPERIENCE_SAMPLE_COUNT: samples,
    }


def _numbers_told(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of a policy update as attributes, doubles all of them."""
    known = {_KNOWN_METRICS[name]: value for name, value in metrics.items() if name in _KNOWN_METRICS}
    others = {name: value for name, value in metrics.items() if name not in _KNOWN_METRICS}
    return {**doubles(known), **metric_attributes(others)}
