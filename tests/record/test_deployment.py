"""Deployments: what they serve, what becomes of them, and what is made of values that cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record.files import _files
from crucible_trace_otel.record.files._digests import drain
from crucible_trace_otel.semconv import attributes as attr
from tests.journal.process import environment
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from pathlib import Path

STATUS, RESULT = attr.DEPLOYMENT_STATUS, attr.CRUCIBLE_OPERATION_RESULT
SHARE, REASON = attr.CRUCIBLE_DEPLOYMENT_TRAFFIC_SHARE, attr.CRUCIBLE_DEPLOYMENT_REASON
VERSION, PREVIOUS = attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION, attr.CRUCIBLE_DEPLOYMENT_PREVIOUS_VERSION


def save(path: Path, text: str = "weights", **about: Any) -> crucible.StoredFile:
    with crucible.training_run("r", model="softmax") as run:
        return run.save_model(path, write=lambda path: path.write_text(text), **about)


def test_a_canary_that_is_promoted(recorded: Recording) -> None:
    with (
        crucible.deployment("api", version="1") as old,
        crucible.deployment("api", version="2", strategy="canary", previous=old, reason="better") as new,
    ):
        new.start_canary(0.05)
        with new.a_b_test("1 or 2") as test:
            pass
        promoted = new.promote_canary(reason="measured", depends_on=test)
        new.start_serving(replicas=3, depends_on=promoted)
    shown = (STATUS, SHARE, VERSION, PREVIOUS, REASON)
    assert recorded.tree(*shown).inside == [
        node(
            "deployment",
            "api",
            node("canary_started", "api: canary, 5% of the traffic", attributes={SHARE: 0.05, VERSION: "2"}),
            node("a_b_test", "1 or 2"),
            node(
                "canary_promoted",
                "api: canary promoted, 100% of the traffic: measured",
                attributes={SHARE: 1.0, VERSION: "2", REASON: "measured"},
                links=["depends_on: a_b_test: 1 or 2"],
            ),
            node(
                "serving_started",
                "api: serving",
                attributes={VERSION: "2"},
                links=["depends_on: canary_promoted: api: canary promoted, 100% of the traffic: measured"],
            ),
            attributes={STATUS: "succeeded", SHARE: 1.0, VERSION: "2", PREVIOUS: "1", REASON: "better"},
        )
    ]
    assert said(recorded.named("deployment")[1])[attr.CRUCIBLE_DEPENDENCY_NAMES] == ("replaces: deployment: api",)


def test_a_deployment_that_is_taken_back(recorded: Recording) -> None:
    with crucible.deployment("api", version="1") as old:
        pass
    with crucible.deployment("api", version="2", previous=old) as new:
        with pytest.raises(ValueError, match="odd"), new.inference() as failed:
            raise ValueError("odd")
        back = new.roll_back(reason="it fails", caused_by=failed)
    with crucible.stage("fix", depends_on=back.event_id):
        pass
    (_, taken_back) = recorded.named("deployment")
    assert (said(taken_back)[STATUS], said(taken_back)[RESULT]) == ("failed", "failure")
    assert attr.ERROR_TYPE not in said(taken_back)
    rollback = recorded.one("deployment_rollback")
    assert (said(rollback)[VERSION], said(rollback)[PREVIOUS]) == ("1", "2")
    assert said(rollback)[attr.CRUCIBLE_DEPENDENCY_NAMES] == (
        "rolled_back_to: deployment: api",
        "caused_by: inference: inference",
    )
    about = "api: rolled back to 1: it fails"
    assert recorded.trees()[-1].links == [f"depends_on: deployment_rollback: {about}"]


@pytest.mark.parametrize("to", ["1", None])
def test_a_version_alone_is_gone_back_to(recorded: Recording, warned: list[str], to: str | None) -> None:
    with crucible.deployment("api", version="2", previous="1") as deployment:
        deployment.reject_canary(reason="slow")
        deployment.roll_back(to)
    assert said(recorded.one("deployment_rollback"))[VERSION] == "1"
    assert said(recorded.one("canary_rejected"))[SHARE] == 0.0
    assert said(recorded.one("deployment"))[STATUS] == "failed"
    assert warned == []


def test_a_deployment_that_raises_has_failed(recorded: Recording) -> None:
    with pytest.raises(OSError, match="no disk"), crucible.deployment("api"):
        raise OSError("no disk")
    assert said(recorded.one("deployment"))[STATUS] == "failed"
    assert said(recorded.one("deployment"))[attr.ERROR_TYPE] == "OSError"


def test_a_model_of_another_process_is_known_by_its_sidecar(recorded: Recording, tmp_path: Path) -> None:
    code = """
        import crucible_trace_otel as crucible
        with crucible.configure(journal="j", ship="off"), crucible.training_run("theirs", model="softmax") as run:
            run.save_model("m", write=lambda path: open(path, "w").write("weights"), version="3")
            print(f"{run.span_context.trace_id:032x} {run.event_id}", end="")
    """
    code = "\n".join(line.strip() if "run." not in line else f"    {line.strip()}" for line in code.splitlines())
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    trace_id, event_id = ran.stdout.split()
    with crucible.deployment("api") as deployment:
        assert deployment.load_model(tmp_path / "m", read=lambda path: path.read_text()).value == "weights"
    assert drain(10)
    span = recorded.one("deployment")
    assert said(span)[attr.CRUCIBLE_DEPENDENCY_TYPES] == ("serves", "deployed_from")
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [trace_id, trace_id]
    assert span.links[1].attributes[attr.CRUCIBLE_LINK_EVENT_ID] == event_id
    model = attr.CRUCIBLE_MODEL_NAME, attr.CRUCIBLE_MODEL_VERSION
    assert [said(span)[key] for key in model] == ["softmax", "3"]
    saved = json.loads((tmp_path / "m.crucible.json").read_text())
    assert said(span)[attr.CRUCIBLE_MODEL_SHA256] == saved["sha256"]
    produced_by = said(recorded.one("model_load"))[attr.CRUCIBLE_DEPENDENCY_NAMES]
    assert produced_by == (f"produced_by: model_save: {tmp_path}/m",)


def test_a_model_that_is_not_what_was_saved(recorded: Recording, warned: list[str], tmp_path: Path) -> None:
    save(tmp_path / "m")
    assert drain(10)
    _files._saved.clear()  # as in another process
    (tmp_path / "m").write_text("others")
    with crucible.deployment("api") as deployment:
        deployment.load_model(tmp_path / "m")
        assert drain(10)
    for name in ("model_load", "deployment"):
        assert said(recorded.one(name))[attr.CRUCIBLE_MODEL_DIGEST_MISMATCH] is True
    assert warned == [f"{tmp_path}/m is not what was saved there: its digest differs."]


def test_a_model_without_a_sidecar(recorded: Recording, tmp_path: Path) -> None:
    save(tmp_path / "m")
    save(tmp_path / "m", sidecar=False)
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    (tmp_path / "other").write_text("somebody's")
    with crucible.deployment("api") as deployment:
        deployment.load_model(tmp_path / "other")
    assert drain(10)
    span = recorded.one("deployment")
    assert (span.links, said(span)[attr.CRUCIBLE_MODEL_PATH]) == ((), str(tmp_path / "other"))


@pytest.mark.parametrize("way", ["record", "path", "text", "digest", "loaded"])
def test_what_it_serves_is_given_in_many_ways(recorded: Recording, warned: list[str], tmp_path: Path, way: str) -> None:
    with crucible.training_run("judge") as judge:
        validation = judge.record_validation(accuracy=1)
    saved = save(tmp_path / "m", version="3", evaluated_by=validation)
    with crucible.training_run("next") as run:
        loaded = run.load_checkpoint(tmp_path / "m")
    given = {
        "record": saved,
        "path": tmp_path / "m",
        "text": str(tmp_path / "m"),
        "digest": crucible.Model("softmax", sha256=f"SHA256:{saved.digest(5).sha256.upper()}"),
        "loaded": loaded,
    }[way]
    with crucible.deployment("api", model=given, evaluated_by=validation):
        pass
    name = f"model_save: {tmp_path}/m"
    judged = "evaluated_by: validation_run: "
    (links,) = [tree.links for tree in recorded.trees() if tree.name == "deployment"]
    assert links[:2] == [f"serves: {name}", "deployed_from: training_run: r"]
    assert links[2].startswith(judged)
    assert said(recorded.one("model_save"))[attr.CRUCIBLE_DEPENDENCY_TYPES] == ("evaluated_by",)
    assert said(recorded.one("deployment"))[attr.CRUCIBLE_MODEL_SHA256] == saved.digest(5).sha256
    assert warned == []


def test_a_model_may_be_a_name_alone(recorded: Recording, warned: list[str]) -> None:
    with crucible.deployment("api", model="softmax") as deployment, deployment.inference():
        pass
    assert {said(span)[attr.CRUCIBLE_MODEL_NAME] for span in recorded.spans} == {"softmax"}
    assert warned == []


@pytest.mark.parametrize(
    ("given", "key", "kept"),
    [
        ({"traffic_share": 1.5}, SHARE, 1.5),
        ({"traffic_share": "half"}, SHARE, None),
        ({"traffic_share": float("nan")}, SHARE, pytest.approx(float("nan"), nan_ok=True)),
        ({"replicas": -1}, attr.CRUCIBLE_DEPLOYMENT_REPLICA_COUNT, -1),
        ({"replicas": 1.5}, attr.CRUCIBLE_DEPLOYMENT_REPLICA_COUNT, None),
        ({"strategy": "shadow"}, attr.CRUCIBLE_DEPLOYMENT_STRATEGY, "shadow"),
        ({"inference_ratio": 7}, attr.CRUCIBLE_INFERENCE_SAMPLED_RATIO, None),
        ({"model": crucible.Model("m", sha256="abc")}, attr.CRUCIBLE_MODEL_SHA256, "abc"),
    ],
)
def test_a_value_that_cannot_be_is_marked(
    recorded: Recording, warned: list[str], given: dict[str, Any], key: str, kept: Any
) -> None:
    for _ in range(2):
        with crucible.deployment("api", **given) as deployment, deployment.inference():
            pass
    for span in recorded.named("deployment"):
        assert said(span).get(key) == kept
        assert said(span)[attr.CRUCIBLE_REPAIRED_KEYS] == (key,)
        assert said(span)[attr.CRUCIBLE_REPAIRED_REASONS] == ("unexpected",)
    assert len(recorded.named("inference")) == 2
    assert len(warned) == 1


def test_a_share_that_cannot_be_is_marked_on_a_canary(recorded: Recording, warned: list[str]) -> None:
    with crucible.deployment("api") as deployment:
        deployment.start_canary(-0.5, reason="\ud800")
    found = said(recorded.one("canary_started"))
    assert found[SHARE] == -0.5
    assert dict(zip(found[attr.CRUCIBLE_REPAIRED_KEYS], found[attr.CRUCIBLE_REPAIRED_REASONS], strict=True)) == {
        SHARE: "unexpected",
        REASON: "surrogate",
    }
    assert len(warned) == 1


def test_two_open_deployments_of_one_name(recorded: Recording, warned: list[str]) -> None:
    with (
        crucible.deployment("api") as old,
        crucible.deployment("api", previous=old),
        crucible.deployment("api", environment="staging"),
        crucible.deployment("api", previous="0"),
    ):
        pass
    with crucible.deployment("api"):
        pass
    marked = [said(span).get(attr.CRUCIBLE_DEPLOYMENT_OVERLAPPING) for span in recorded.named("deployment")]
    assert marked == [None, None, None, True, None]
    assert len(warned) == 1
