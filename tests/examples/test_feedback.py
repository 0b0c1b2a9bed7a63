"""The examples of learning from rewards and of late feedback, as processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import crucible_trace_otel as crucible
from tests.journal.process import environment

ROOT = Path(__file__).parents[2]


def example(folder: Path, name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *arguments],
        cwd=folder,
        env=environment(CRUCIBLE_JOURNAL="records"),
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_walker_learns_and_what_it_learned_from_is_linked(tmp_path: Path) -> None:
    said = example(tmp_path, "grid_world.py")
    means = [float(mean) for mean in re.findall(r" to +\d+ +(-?[\d.]+) ", said)]
    assert means[0] < 0 < means[-1]
    trace = crucible.open_store(tmp_path / "records").latest()
    by_id = trace.by_id
    update = [span for span in trace.spans if span.operation == "policy_update"][-1]
    (sample,) = [by_id[link.span_id] for link in update.links]
    episodes = [by_id[link.span_id] for link in sample.links]
    assert {one.operation for one in episodes} == {"episode"}
    assert len(episodes) == sample.attributes["crucible.experience.episode.count"]
    lengths = sum(span.attributes["crucible.episode.length"] for span in trace.spans if span.operation == "episode")
    assert len(crucible.step_rows(trace, "reward_received")) == lengths


def test_feedback_by_token_from_another_process_is_linked(tmp_path: Path) -> None:
    said = example(tmp_path, "late_feedback.py")
    assert "120 judgements of 60 answers" in said
    assert re.search(r"image \d+  human: wrong, score 1; automatic: agreement", said)
    tokens = [answer["token"] for answer in json.loads((tmp_path / "demo-output/answers.json").read_text())]
    assert all(crucible.read_feedback_token(token).is_recorded for token in tokens)
