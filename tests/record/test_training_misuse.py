"""Whatever a training hands over that is wrong: what is kept of it, what is said, and that the run goes on to its end.

Each misuse happens twice in a run; it raises nothing, is warned about once at most, and the next step is recorded.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record.files import _files
from crucible_trace_otel.record.files._digests import drain
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from tests.record.reading import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.record.reading import Recording

GOOD = 0.25
"""The loss of the step after a misuse."""


class Refusing:
    """An object each of whose methods raises."""

    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __float__ = __int__ = __index__ = __str__  # type: ignore[assignment]


def weights(folder: Path, text: str = "weights") -> Path:
    path = folder / "weights"
    path.write_text(text)
    return path


def of_another_process(run: crucible.TrainingRun, folder: Path, **said_by_sidecar: Any) -> Path:
    """A checkpoint of `run` that this process does not remember, with other values in its sidecar."""
    path = weights(folder)
    run.save_checkpoint(path)
    assert drain(5)
    _files._saved.clear()
    sidecar = Path(f"{path}.crucible.json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | said_by_sidecar))
    return path


def resumed(path: Path, **given: Any) -> None:
    with crucible.training_run("other", resume_from=path, **given) as other:
        other.record_step(loss=1.0)


def rows(name: str, recorded: Recording) -> list[Any]:
    """The values of a column of the steps, but those of the good steps."""
    found = sorted(recorded.rows(), key=lambda row: row["step"])
    return [row[name] for row in found if row.get(name, GOOD) != GOOD]


def columns(event: str, recorded: Recording) -> set[str]:
    return {name for row in recorded.rows(event) for name in row} - {"step", "time_ns"}


def attributes(operation: str, key: str, recorded: Recording) -> list[Any]:
    """What the spans of an operation say under `key`."""
    return [said(span).get(key) for span in recorded.named(operation)]


def of_run(key: str, recorded: Recording) -> Any:
    return next(
        said(span).get(key) for span in recorded.named("training_run") if said(span)[attr.CRUCIBLE_ABOUT] == "r"
    )


# ---- values and names ----


def a_text_as_loss(run: crucible.TrainingRun, _: Path) -> None:
    run.record_step(loss="low")


def an_object_that_refuses(run: crucible.TrainingRun, _: Path) -> None:
    run.record_step(loss=Refusing())


def a_step_that_is_no_number(run: crucible.TrainingRun, _: Path) -> None:
    run.record_step(step="three", loss=1.0)  # type: ignore[arg-type]


def numbers_without_names(run: crucible.TrainingRun, _: Path) -> None:
    run.record_step(1.0)


def a_column_called_7(run: crucible.TrainingRun, _: Path) -> None:
    run.step_recorder("loss", 7)(1.0, 2.0)  # type: ignore[arg-type]


def a_layer_called_7(run: crucible.TrainingRun, _: Path) -> None:
    run.compute_gradient(1.0, {7: 2.0})  # type: ignore[dict-item]


def a_phase_called_7(run: crucible.TrainingRun, _: Path) -> None:
    with run.phase(7):  # type: ignore[arg-type]
        pass


def a_hyperparameter_called_7(run: crucible.TrainingRun, _: Path) -> None:
    run.tune_hyperparameter(7, 0.5)  # type: ignore[arg-type]


# ---- order ----


def steps_that_go_back(run: crucible.TrainingRun, _: Path) -> None:
    for step in (5, 3, 3):
        run.record_step(step=step, loss=float(step))


def two_epochs_at_once(run: crucible.TrainingRun, _: Path) -> None:
    epochs = [run.epoch(index).start() for index in (0, 1)]
    for _ in range(2):
        for epoch in epochs:
            epoch.record_step(loss=1.0 + epoch.index)
    for epoch in epochs:
        epoch.stop()


def a_verb_after_the_end(run: crucible.TrainingRun, _: Path) -> None:
    with run.epoch(3) as epoch:
        pass
    epoch.record_step(loss=2.0)
    epoch.record_validation(accuracy=0.5)


def a_loader_that_raises(run: crucible.TrainingRun, _: Path) -> None:
    def loader() -> Iterator[int]:
        yield 1
        raise OSError("no such shard")

    with suppress(OSError):
        for _batch in run.track(loader()):
            pass


# ---- checkpoints ----


def a_checkpoint_that_is_not_there(run: crucible.TrainingRun, folder: Path) -> None:
    run.save_checkpoint(folder / "never")


def loading_what_is_not_there(run: crucible.TrainingRun, folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run.load_checkpoint(folder / "never", read=Path.read_bytes)


def resuming_from_what_is_not_there(_: crucible.TrainingRun, folder: Path) -> None:
    resumed(folder / "never")


def loading_with_a_sidecar_of_the_future(run: crucible.TrainingRun, folder: Path) -> None:
    run.load_checkpoint(of_another_process(run, folder, version=99))


def resuming_from_a_sidecar_of_the_future(run: crucible.TrainingRun, folder: Path) -> None:
    resumed(of_another_process(run, folder, version=99))


def loading_a_checkpoint_of_another_run(run: crucible.TrainingRun, folder: Path) -> None:
    run.load_checkpoint(of_another_process(run, folder, run_id="of-another-run"))


def resuming_from_another_run(run: crucible.TrainingRun, folder: Path) -> None:
    resumed(of_another_process(run, folder, run_id="of-another-run"), run_id="mine")


def a_digest_that_does_not_match(run: crucible.TrainingRun, folder: Path) -> None:
    path = of_another_process(run, folder)
    weights(folder, "others!")
    run.load_checkpoint(path)
    assert drain(5)


STEPS, GRADIENTS = events.STEPS_RECORDED, events.GRADIENT_COMPUTED
PHASE = f"{attr.CRUCIBLE_TRAINING_PHASE_COUNT_TEMPLATE}.7"
HYPERPARAMETER = f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}.7"
LOADED_STEP = partial(attributes, "checkpoint_load", attr.CRUCIBLE_CHECKPOINT_STEP)
DIGEST = partial(attributes, "checkpoint_save", attr.CRUCIBLE_CHECKPOINT_SHA256)
MISMATCH = partial(attributes, "checkpoint_load", attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH)
ATTEMPTS = partial(attributes, "training_run", attr.CRUCIBLE_RUN_ATTEMPT)


def repeated(recorded: Recording) -> int:
    return sum(window.get(attr.CRUCIBLE_WINDOW_REPEATED, 0) for window in recorded.windows())


def late(recorded: Recording) -> list[Any]:
    return [(row["epoch"], row["loss"]) for row in recorded.rows() if "epoch" in row]


def exceptions(recorded: Recording) -> list[str]:
    return [event.name for span in recorded.spans for event in span.events if event.name == "exception"]


def epochs(recorded: Recording) -> list[Any]:
    return attributes("epoch", attr.CRUCIBLE_TRAINING_LOSS_VALUE, recorded)


def links(recorded: Recording) -> list[str]:
    return [link.attributes[attr.CRUCIBLE_LINK_TYPE] for span in recorded.spans for link in span.links]


def run_ids(recorded: Recording) -> list[str]:
    return [said(span)[attr.CRUCIBLE_RUN_ID] for span in recorded.named("training_run")[1:]]


@dataclass(frozen=True)
class Case:
    """A misuse, how its only warning begins (`{}` is the folder; empty where there is none), and what is kept."""

    misuse: Callable[[crucible.TrainingRun, Path], None]
    warning: str
    look: Callable[[Recording], Any]
    kept: Any


CASES = [
    Case(a_text_as_loss, "", partial(rows, "loss"), ["low", "low"]),
    Case(an_object_that_refuses, "", lambda recorded: len(rows("loss", recorded)), 2),
    Case(a_step_that_is_no_number, "TrainingRun.record_step() was not recorded", partial(rows, "loss"), []),
    Case(numbers_without_names, "TrainingRun.record_step() was not recorded", partial(rows, "loss"), []),
    Case(a_column_called_7, "step_recorder() takes names, each once", partial(columns, STEPS), {"loss", "7"}),
    Case(a_layer_called_7, "", partial(columns, GRADIENTS), {"norm", "norm.7"}),
    Case(a_phase_called_7, "", partial(of_run, PHASE), 2),
    Case(a_hyperparameter_called_7, "", partial(attributes, "hyperparameter_tuned", HYPERPARAMETER), [0.5, 0.5]),
    Case(steps_that_go_back, "", partial(rows, "loss"), [3.0, 3.0, 3.0, 3.0, 5.0, 5.0]),
    Case(steps_that_go_back, "", repeated, 5),
    Case(two_epochs_at_once, "", epochs, [1.0, 2.0, 1.0, 2.0]),
    Case(a_verb_after_the_end, "epoch 'epoch 3' has ended", late, [(3, 2.0), (3, 2.0)]),
    Case(a_loader_that_raises, "", exceptions, ["exception"] * 2),
    Case(a_checkpoint_that_is_not_there, "The file {}/never has no digest", DIGEST, [None, None]),
    Case(loading_what_is_not_there, "", exceptions, ["exception"] * 2),
    Case(resuming_from_what_is_not_there, "", ATTEMPTS, [0, 0, 0]),
    Case(loading_with_a_sidecar_of_the_future, "{}/weights.crucible.json", LOADED_STEP, [None, None]),
    Case(resuming_from_a_sidecar_of_the_future, "{}/weights.crucible.json", ATTEMPTS, [0, 0, 0]),
    Case(loading_a_checkpoint_of_another_run, "", links, ["produced_by"] * 2),
    Case(resuming_from_another_run, "{}/weights is a checkpoint of the run", run_ids, ["mine", "mine"]),
    Case(a_digest_that_does_not_match, "{}/weights is not what was saved there", MISMATCH, [True, True]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.misuse.__name__)
def test_the_run_goes_on(recorded: Recording, warned: list[str], tmp_path: Path, case: Case) -> None:
    with crucible.training_run("r") as run:
        for _ in range(2):
            case.misuse(run, tmp_path)
            run.record_step(loss=GOOD)
    assert drain(5)
    assert of_run(attr.CRUCIBLE_RUN_STATE, recorded) == "completed"
    assert [row["loss"] for row in recorded.rows()].count(GOOD) == 2
    assert case.look(recorded) == case.kept
    assert len(warned) == bool(case.warning)
    assert all(text.startswith(case.warning.format(tmp_path)) for text in warned)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB. Where none can be mounted, `test_checkpoints.py` has a limit for files instead."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False)
    if not made or made.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("whole", [True, False])
def test_a_disk_that_fills_during_a_save(recorded: Recording, warned: list[str], small_disk: Path, whole: bool) -> None:
    """An error of your own writing is yours; a checkpoint that takes the last room has no sidecar: one warning."""

    def write(path: Path) -> None:
        with path.open("wb", buffering=0) as file:
            while room := shutil.disk_usage(small_disk).free:
                file.write(bytes(room))
            if not whole:
                file.write(bytes(4096))

    with crucible.training_run("r") as run:
        for _ in range(2):
            with suppress(OSError):
                run.save_checkpoint(small_disk / "a", write=write)
        run.record_step(loss=GOOD)
    assert drain(5)
    assert of_run(attr.CRUCIBLE_RUN_STATE, recorded) == "completed"
    assert rows("loss", recorded) == []
    assert exceptions(recorded) == ([] if whole else ["exception"] * 2)
    assert [path.name for path in small_disk.iterdir()] == ["a"]
    assert ["has no sidecar" in text and "No space left" in text for text in warned] == ([True] if whole else [])
