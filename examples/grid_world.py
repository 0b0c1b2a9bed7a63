"""Q-learning in a small grid world, recorded: episodes, rewards, replayed experience, and what the policy becomes.

    python examples/grid_world.py

A walker that slips now and then looks for the way from S to G around the pits. It learns from transitions that are
drawn from a buffer, those it was most wrong about more often. The trace goes to .crucible/.
"""

import os
import sys
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import crucible_trace_otel as crucible

GRID = ("S....", ".#.O.", "...#.", ".O...", "...#G")
"""`#` is a wall, `O` a pit: it and the goal end an episode."""
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))
REWARDS = {"G": 10.0, "O": -10.0}
EPISODES, BATCH, LONGEST, SEED = 200, 128, 60, 9
HYPERPARAMETERS = {"learning_rate": 0.1, "discount": 0.97, "exploration": 0.3, "slip": 0.02, "temperature": 0.5}

Table = NDArray[Any]


class Transition(NamedTuple):
    """One step of the walker, and the episode it is from."""

    state: int
    action: int
    reward: float
    following: int
    is_last: bool
    episode: crucible.Episode


def move(state: int, action: int, random: np.random.Generator) -> tuple[int, float, bool]:
    """Where the walker comes to, what it gets for that, and whether the episode is over."""
    if random.random() < HYPERPARAMETERS["slip"]:
        action = int(random.integers(len(MOVES)))
    row, column = divmod(state, len(GRID[0]))
    down, right = MOVES[action]
    row_to, column_to = row + down, column + right
    is_inside = 0 <= row_to < len(GRID) and 0 <= column_to < len(GRID[0])
    if is_inside and GRID[row_to][column_to] != "#":
        row, column = row_to, column_to
    field = GRID[row][column]
    return row * len(GRID[0]) + column, REWARDS.get(field, -0.2), field in REWARDS


def policy_of(values: Table) -> Table:
    """How probable each action is in each state, by a softmax of the values."""
    heights = np.exp((values - values.max(axis=1, keepdims=True)) / HYPERPARAMETERS["temperature"])
    probabilities: Table = heights / heights.sum(axis=1, keepdims=True)
    return probabilities


def walk(
    values: Table, episode: crucible.Episode, random: np.random.Generator, exploration: float = 0.0
) -> list[Transition]:
    """One episode; each step's reward is recorded with what was done."""
    record = episode.reward_recorder("action", "state")
    state, taken = 0, []
    for _ in range(LONGEST):
        explores = random.random() < exploration
        action = int(random.integers(len(MOVES)) if explores else values[state].argmax())
        following, reward, is_last = move(state, action, random)
        record(reward, action, state)
        taken.append(Transition(state, action, reward, following, is_last, episode))
        state = following
        if is_last:
            break
    return taken


def error_of(values: Table, one: Transition) -> float:
    """How far the value of a transition's action is from what the transition says."""
    best = 0.0 if one.is_last else values[one.following].max()
    return float(one.reward + HYPERPARAMETERS["discount"] * best - values[one.state, one.action])


def learn(values: Table, batch: list[Transition], update: crucible.PolicyUpdate) -> None:
    """Change `values` by a batch, and record what that did to the policy."""
    before, errors = policy_of(values), []
    for one in batch:
        errors.append(error_of(values, one))
        values[one.state, one.action] += HYPERPARAMETERS["learning_rate"] * errors[-1]
    after = policy_of(values)
    update.record_metric(
        loss=float(np.mean(np.square(errors))),
        learning_rate=HYPERPARAMETERS["learning_rate"],
        gradient_norm=float(np.linalg.norm(errors)),
        kl=float((after * np.log(after / before)).sum(axis=1).mean()),
        entropy=float(-(after * np.log(after)).sum(axis=1).mean()),
    )


def train(run: crucible.TrainingRun) -> Table:
    """Learn from episode after episode; returns the value of each action in each state."""
    random = np.random.default_rng(SEED)
    values = np.zeros((len(GRID) * len(GRID[0]), len(MOVES)))
    buffer: deque[Transition] = deque(maxlen=2_000)
    for version in range(EPISODES):
        with run.episode(policy_version=version) as episode:
            exploration = HYPERPARAMETERS["exploration"] * (1 - version / EPISODES)
            buffer.extend(walk(values, episode, random, exploration))
        priorities = np.abs([error_of(values, one) for one in buffer]) ** 0.5 + 0.1
        drawn = random.choice(len(buffer), BATCH, p=priorities / priorities.sum())
        batch = [buffer[index] for index in drawn]
        sample = run.sample_experience(
            BATCH,
            buffer_size=len(buffer),
            priorities=priorities[drawn],
            sampled_from=[one.episode for one in batch],
        )
        with run.policy_update(version + 1, samples=BATCH, sampled_from=sample) as update:
            learn(values, batch, update)
    return values


def shown(values: Table) -> list[str]:
    """The way that is best in each field."""
    arrows = np.array(list("↑↓←→"))[values.argmax(axis=1)].reshape(len(GRID), -1)
    fields = np.array([list(row) for row in GRID])
    return [" ".join(row) for row in np.where(np.isin(fields, ["S", "."]), arrows, fields)]


def report(run_id: str) -> None:
    """Say how the return went, as it is read back."""
    trace = crucible.open_store(os.environ.get("CRUCIBLE_JOURNAL", ".crucible")).get(run_id)
    returns: dict[int, float] = {}
    for row in crucible.step_rows(trace, "reward_received").rows:
        returns[row["episode"]] = returns.get(row["episode"], 0.0) + row["reward"]
    ordered = [returns[index] for index in sorted(returns)]
    print(f"{len(ordered)} episodes; mean return, fifty at a time:")
    for first in range(0, len(ordered), 50):
        mean = float(np.mean(ordered[first : first + 50]))
        print(
            f"  {first:3} to {min(first + 49, len(ordered) - 1):3}  {mean:6.2f}  {'█' * max(round(mean * 2 + 20), 0)}"
        )
    print(f"Look closer: {Path(sys.executable).parent / 'crucible-trace'} show {run_id}")


def main() -> None:
    """Learn, and say what was learned."""
    with (
        crucible.configure(service_name="grid-world"),
        crucible.training_run("grid world", hyperparameters=HYPERPARAMETERS, model="Q table", seed=SEED) as run,
    ):
        values = train(run)
        with run.episode(policy_version=EPISODES) as last:
            walk(values, last, np.random.default_rng(SEED))
    print("The best ways:")
    print("\n".join(f"  {line}" for line in shown(values)))
    report(run.run_id)


if __name__ == "__main__":
    main()
