"""Episodes, the experience drawn from them, and policies: whole trees, and every reward read back."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from tests.journal.process import environment
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from pathlib import Path

REWARDS = events.REWARD_RECEIVED


def rewards(recorded: Recording) -> list[float]:
    return [row["reward"] for row in recorded.rows(REWARDS)]


def test_a_run_that_learns_from_episodes(recorded: Recording) -> None:
    with crucible.training_run("grid") as run:
        episodes = []
        for version in range(2):
            with run.episode(policy_version=version) as episode:
                for reward in (-1, -1, 10):
                    episode.record_reward(reward, action=2)
            episodes.append(episode)
        batch = run.sample_experience(32, buffer_size=500, priorities=[0.5, 1.5], sampled_from=episodes * 16)
        with run.policy_update("2", samples=32, sampled_from=batch) as update:
            update.record_metric(loss=1, kl=0.25)
            update.record_metric(clip_fraction=0.5)
        run.update_policy("3", sampled_from=batch, entropy=1, learning_rate=0.5, gradient_norm=2)
    shown = {
        attr.CRUCIBLE_EPISODE_INDEX: 0,
        attr.CRUCIBLE_EPISODE_LENGTH: 3,
        attr.CRUCIBLE_EPISODE_RETURN: 8.0,
        attr.CRUCIBLE_POLICY_VERSION: "0",
    }
    other = {**shown, attr.CRUCIBLE_EPISODE_INDEX: 1, attr.CRUCIBLE_POLICY_VERSION: "1"}
    sample = {
        attr.CRUCIBLE_EXPERIENCE_SAMPLE_COUNT: 32,
        attr.CRUCIBLE_EXPERIENCE_BUFFER_SIZE: 500,
        attr.CRUCIBLE_EXPERIENCE_PRIORITY_MEAN: 1.0,
        attr.CRUCIBLE_EXPERIENCE_EPISODE_COUNT: 2,
    }
    updated = {
        attr.CRUCIBLE_POLICY_VERSION: "2",
        attr.CRUCIBLE_EXPERIENCE_SAMPLE_COUNT: 32,
        attr.CRUCIBLE_TRAINING_LOSS_VALUE: 1.0,
        attr.CRUCIBLE_POLICY_KL: 0.25,
        f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.clip_fraction": 0.5,
    }
    at_once = {
        attr.CRUCIBLE_POLICY_VERSION: "3",
        attr.CRUCIBLE_POLICY_ENTROPY: 1.0,
        attr.CRUCIBLE_TRAINING_LEARNING_RATE: 0.5,
        attr.CRUCIBLE_TRAINING_GRADIENT_NORM: 2.0,
    }
    drawn = ["sampled_from: experience_sample: 32 of 500"]
    assert recorded.tree(*{**shown, **sample, **updated, **at_once}) == node(
        "training_run",
        "grid",
        node("episode", "episode 0", attributes=shown, events=[REWARDS]),
        node("episode", "episode 1", attributes=other, events=[REWARDS]),
        node(
            "experience_sample",
            "32 of 500",
            attributes=sample,
            links=["sampled_from: episode: episode 0", "sampled_from: episode: episode 1"],
        ),
        node("policy_update", "policy 2", attributes=updated, links=drawn),
        node("policy_update", "policy 3", attributes=at_once, links=drawn),
    )
    assert rewards(recorded) == [-1, -1, 10] * 2


def test_an_episode_alone_is_a_trace_of_its_own_and_counted(recorded: Recording) -> None:
    with crucible.inference("judge") as judge:
        pass
    with crucible.episode(rewarded_by=judge) as first:
        first.record_reward(1.0)
    with crucible.episode() as second:
        pass
    with crucible.episode(41) as third:
        pass
    assert second.index == first.index + 1
    assert third.index == 41
    assert len({span.context.trace_id for span in recorded.named("episode")}) == 3
    assert recorded.trees()[1].links == ["rewarded_by: inference: judge"]
    empty = said(recorded.named("episode")[1])
    assert empty[attr.CRUCIBLE_EPISODE_LENGTH] == 0
    assert attr.CRUCIBLE_EPISODE_RETURN not in empty


def test_an_episode_finds_the_run_around_it(recorded: Recording) -> None:
    with crucible.training_run("r", windows=crucible.WindowPolicy(rows=2)) as run, run.epoch(0) as epoch:
        for _ in range(2):
            with crucible.stage("act"), crucible.episode() as episode:
                for _ in range(4):
                    episode.record_reward(1)
        with epoch.episode():
            pass
    assert [said(span)[attr.CRUCIBLE_EPISODE_INDEX] for span in recorded.named("episode")] == [0, 1, 2]
    assert [window[attr.CRUCIBLE_WINDOW_COUNT] for window in recorded.windows(REWARDS)] == [2] * 4
    assert [one.name for one in recorded.tree().inside[0].inside] == ["stage act", "stage act", "episode"]


@given(values=st.lists(st.floats() | st.integers(-(2**60), 2**60), max_size=40), bound=st.booleans())
def test_every_reward_is_read_back(values: list[float], bound: bool) -> None:
    recorded = Recording()
    use_tracer_provider(recorded.provider)
    with crucible.episode(windows=crucible.WindowPolicy(rows=7)) as episode:
        record = episode.reward_recorder() if bound else episode.record_reward
        for value in values:
            record(value)
    found = sorted(recorded.rows(REWARDS), key=lambda row: row["step"])
    assert [row["step"] for row in found] == list(range(len(values)))
    assert [repr(float(row["reward"])) for row in found] == [repr(float(value)) for value in values]
    attributes = said(recorded.one("episode"))
    finite = [value for value in values if math.isfinite(value)]
    assert attributes[attr.CRUCIBLE_EPISODE_LENGTH] == len(values)
    if finite and abs(sum(finite)) < 1e300:
        assert attributes[attr.CRUCIBLE_EPISODE_RETURN] == pytest.approx(math.fsum(finite), rel=1e-9, abs=1e30)
    assert attributes.get(attr.CRUCIBLE_ABNORMAL_COUNT, 0) == len(values) - len(finite)


def test_a_million_rewards_would_fit(recorded: Recording) -> None:
    """Of spans of at most fifty windows, each of two hundred rewards, here of one."""
    with crucible.episode(windows=crucible.WindowPolicy(rows=1)) as episode:
        for reward in range(250):
            episode.record_reward(reward)
    tree = recorded.tree()
    assert [len(tree.events), *(len(segment.events) for segment in tree.inside)] == [50] * 5
    assert rewards(recorded) == list(range(250))
    assert said(recorded.one("episode"))[attr.CRUCIBLE_EPISODE_LENGTH] == 250


def test_a_reward_that_is_no_number_is_kept_and_marked(recorded: Recording) -> None:
    with crucible.episode() as episode:
        for reward in (1.0, math.nan, 2.0):
            episode.record_reward(reward)
    abnormal = [event for event in recorded.one("episode").events if event.name == events.STEP_ABNORMAL]
    assert [event.attributes[attr.CRUCIBLE_ABOUT] for event in abnormal] == ["step 1: reward is nan"]
    assert str(rewards(recorded)) == "[1.0, nan, 2.0]"
    attributes = said(recorded.one("episode"))
    assert attributes[attr.CRUCIBLE_EPISODE_RETURN] == 3.0
    assert attributes[attr.CRUCIBLE_ABNORMAL_COUNT] == 1


def test_rewards_of_numpy_and_steps_of_ones_own(recorded: Recording) -> None:
    with crucible.episode() as episode:
        for step in (3, 4, 4, 2):
            episode.record_reward(reward=np.float32(0.5), step=step, value=np.float64(step))
    assert [row["step"] for row in recorded.rows(REWARDS)] == [3, 4, 4, 2]
    (window,) = recorded.windows(REWARDS)
    assert window[attr.CRUCIBLE_WINDOW_REPEATED] == 2
    assert said(recorded.one("episode"))[attr.CRUCIBLE_EPISODE_RETURN] == 2.0


def test_a_reward_after_the_end_is_kept_by_what_is_around(recorded: Recording, warned: list[str]) -> None:
    with crucible.stage("around"):
        with crucible.episode(0) as episode:
            pass
        episode.record_reward(1.5)
    (late,) = recorded.one("stage around").events
    assert late.name == events.RECORDED_LATE
    assert late.attributes[attr.CRUCIBLE_REWARD_VALUE] == 1.5
    assert late.attributes[attr.CRUCIBLE_EPISODE_INDEX] == 0
    assert warned == ["episode 'episode 0' has ended: what is recorded on it afterwards is kept on stage 'around'."]


@pytest.mark.parametrize(
    ("misuse", "named"),
    [
        (lambda episode: episode.record_reward(1.0, 2.0), "Episode.record_reward()"),
        (lambda episode: episode.record_reward(1.0, step="first"), "Episode.record_reward()"),
        (lambda episode: episode.reward_recorder("action")(1.0), "Episode.reward_recorder()"),
    ],
)
def test_misuse_is_one_warning_that_names_what_was_called(recorded, warned, misuse, named) -> None:
    with crucible.episode() as episode:
        misuse(episode)
        episode.record_reward(0.25)
    assert rewards(recorded) == [0.25]
    assert [text.split(" ")[0] for text in warned] == [named]


def test_sources_are_a_hundred_links_and_a_count(recorded: Recording) -> None:
    episodes = []
    with crucible.training_run("r") as run:
        for _ in range(130):
            with run.episode() as episode:
                pass
            episodes.append(episode)
        run.sample_experience(9, sampled_from=episodes)
    sample = recorded.one("experience_sample")
    assert len(sample.links) == 100
    assert {link.context.span_id for link in sample.links} == {one.span_context.span_id for one in episodes[30:]}
    attributes = said(sample)
    assert attributes[attr.CRUCIBLE_EXPERIENCE_EPISODE_COUNT] == 130
    assert attributes[attr.CRUCIBLE_DROPPED_COUNT] == 30


class OnDevice:
    shape, dtype, device = (2,), "float32", "cuda:0"

    def item(self) -> float:
        return pytest.fail("the device was waited for")

    __iter__ = __float__ = item


@pytest.mark.parametrize("priorities", [OnDevice(), [], "none", object()])
def test_priorities_without_a_mean_leave_the_sample(recorded: Recording, priorities: Any) -> None:
    with crucible.training_run("r") as run:
        run.sample_experience(4, priorities=priorities)
        run.sample_experience(4, priorities=np.array([1.0, 2.0]))
        run.sample_experience(4, priority_mean=7)
    means = [said(span).get(attr.CRUCIBLE_EXPERIENCE_PRIORITY_MEAN) for span in recorded.named("experience_sample")]
    assert means == [None, 1.5, 7.0]


def test_an_online_update_of_what_serves(recorded: Recording) -> None:
    with crucible.deployment("digits") as deployment:
        deployment.apply_online_update("1.1", model="softmax", samples=64)
    (event,) = recorded.one("deployment").events
    assert (event.name, dict(event.attributes)) == (
        events.ONLINE_UPDATE_APPLIED,
        {
            attr.CRUCIBLE_ABOUT: "model softmax, version 1.1",
            attr.CRUCIBLE_MODEL_NAME: "softmax",
            attr.CRUCIBLE_MODEL_VERSION: "1.1",
            attr.CRUCIBLE_EXPERIENCE_SAMPLE_COUNT: 64,
        },
    )


def test_nothing_is_recorded_and_nothing_raised_without_a_provider() -> None:
    with crucible.training_run("r") as run, run.episode() as episode:
        episode.record_reward(1.0)
        episode.reward_recorder("x")(1.0, 2)
        drawn = run.sample_experience(1, sampled_from=episode)
        assert run.update_policy("1", sampled_from=drawn).event_id
        with run.policy_update() as update:
            update.record_metric(loss=1)
            update.apply_online_update()
    assert episode.index == 0


def test_episodes_of_a_run_of_several_traces_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_TRACE_SPANS", "5")
    with crucible.configure(journal=tmp_path / "j", ship="off"), crucible.training_run("r", run_id="one") as run:
        for index in range(12):
            with run.episode() as episode:
                for reward in range(3):
                    episode.record_reward(index + reward)
    trace = crucible.open_store(tmp_path / "j").get("one")
    assert len(trace.trace_ids) > 1
    rows = crucible.step_rows(trace, REWARDS).rows
    assert [(row["episode"], row["reward"]) for row in rows] == [
        (index, index + reward) for index in range(12) for reward in range(3)
    ]


KILLED = """
import os, signal, crucible_trace_otel as crucible
crucible.configure(journal="j", ship="off")
with crucible.training_run("r") as run, run.episode(7) as episode:
    for reward in range(450):
        episode.record_reward(reward)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_loses_no_reward(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment(), check=False)
    assert killed.returncode == -signal.SIGKILL
    trace = crucible.open_store(tmp_path / "j").latest()
    rows = crucible.step_rows(trace, REWARDS).rows
    assert [(row["episode"], row["step"], row["reward"]) for row in rows] == [(7, step, step) for step in range(450)]
    assert [span.about for span in trace.spans if span.attributes.get(attr.CRUCIBLE_RUN_STATE) == "interrupted"]
    assert [path.name for path in tmp_path.iterdir()] == ["j"]
