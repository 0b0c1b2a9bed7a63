"""What a run is made from: hyperparameters, data set, model, seed, devices."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.record.facts import flattened
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, said

if TYPE_CHECKING:
    from collections.abc import Callable

HYPERPARAMETER = f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}."


@dataclass
class Optimizer:
    name: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: dict[str, Any] = field(default_factory=lambda: {"warmup": 10})


class Size(NamedTuple):
    height: int
    width: int


def started_with(recorded: Recording, **facts: Any) -> dict[str, Any]:
    with crucible.training_run("r", **facts):
        pass
    return said(recorded.spans[-1])


def hyperparameters(attributes: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in attributes.items() if key.startswith(HYPERPARAMETER)}
    return {key.removeprefix(HYPERPARAMETER): value for key, value in found.items()}


@pytest.mark.parametrize(
    ("nested", "flat"),
    [
        ({"optimizer": {"lr": 0.1, "nesterov": True}}, {"optimizer.lr": 0.1, "optimizer.nesterov": True}),
        (
            {"optimizer": Optimizer()},
            {
                "optimizer.name": "adam",
                "optimizer.betas.0": 0.9,
                "optimizer.betas.1": 0.999,
                "optimizer.schedule.warmup": 10,
            },
        ),
        (Namespace(lr=0.1, layers=[64, 32]), {"lr": 0.1, "layers.0": 64, "layers.1": 32}),
        (SimpleNamespace(image=Size(8, 8)), {"image.height": 8, "image.width": 8}),
        ({"w": list(range(9)), "none": [], "empty": {}}, {"w": str(list(range(9))), "none": "[]", "empty": "{}"}),
        ({"a": {"b": 1}, "a.b": 2, "": 3}, {"a.b": 1, "a.b_": 2, "_": 3}),
        ({"clip": None, "optimizer": Optimizer}, {"optimizer": str(Optimizer)}),
    ],
)  # fmt: skip
def test_nested_hyperparameters_have_dots_between_the_levels(
    recorded: Recording, nested: Any, flat: dict[str, Any]
) -> None:
    assert hyperparameters(started_with(recorded, hyperparameters=nested)) == flat


def test_what_is_past_the_bound_is_kept_together(recorded: Recording) -> None:
    attributes = started_with(recorded, hyperparameters={f"layer{i}": {"width": i} for i in range(40)})
    found = hyperparameters(attributes)
    rest = json.loads(attributes[attr.CRUCIBLE_OVERFLOW])
    assert len(found) == 32
    assert found | {key.removeprefix(HYPERPARAMETER): value for key, value in rest.items()} == {
        f"layer{i}.width": i for i in range(40)
    }


def test_a_value_that_holds_itself_ends(recorded: Recording) -> None:
    endless: dict[str, Any] = {"lr": 0.1}
    endless["again"] = endless
    found = hyperparameters(started_with(recorded, hyperparameters=endless))
    assert found["again.lr"] == 0.1
    assert "<cycle>" in next(value for value in found.values() if isinstance(value, str))


def test_more_than_a_thousand_values_are_marked(recorded: Recording) -> None:
    flat = flattened({"layers": {str(i): i for i in range(1_001)}})
    assert len(flat) == 1_001
    assert flat["…"] == "more than 1000 values were given"


def test_one_part_that_raises_takes_no_other_with_it(recorded: Recording, warned: list[str]) -> None:
    class Hostile(dict[str, Any]):
        def items(self) -> Any:
            raise RuntimeError("no items")

    found = hyperparameters(started_with(recorded, hyperparameters={"lr": 0.1, "odd": Hostile(a=1)}))
    assert found["lr"] == 0.1
    assert "odd" in found
    assert warned == []


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=5), inner, max_size=12),
    max_leaves=60,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5), nested, max_size=6))
def test_any_nesting_becomes_single_values(tree: dict[str, Any]) -> None:
    flat = flattened(tree)
    assert all(isinstance(name, str) and name for name in flat)
    assert all(value is None or isinstance(value, (bool, int, float, str)) for value in flat.values())
    assert bool(flat) == bool(tree)


def test_a_data_set_and_a_model_with_all_that_is_known_of_them(recorded: Recording) -> None:
    attributes = started_with(
        recorded,
        dataset=crucible.Dataset("uci-digits", version="1.0", sha256="ab", size=264_712, rows=1797.0, split="train"),  # type: ignore[arg-type]
        model=crucible.Model("softmax", version=3, parameters=650, sha256="cd"),  # type: ignore[arg-type]
        seed=42,
        accumulation=4,
    )
    expected = {
        attr.CRUCIBLE_DATASET_NAME: "uci-digits",
        attr.CRUCIBLE_DATASET_VERSION: "1.0",
        attr.CRUCIBLE_DATASET_SHA256: "ab",
        attr.CRUCIBLE_DATASET_SIZE: 264_712,
        attr.CRUCIBLE_DATASET_ROWS: 1797,
        attr.CRUCIBLE_DATASET_SPLIT: "train",
        attr.CRUCIBLE_MODEL_NAME: "softmax",
        attr.CRUCIBLE_MODEL_VERSION: "3",
        attr.CRUCIBLE_MODEL_PARAMETER_COUNT: 650,
        attr.CRUCIBLE_MODEL_SHA256: "cd",
        attr.CRUCIBLE_TRAINING_SEED: 42,
        attr.CRUCIBLE_TRAINING_ACCUMULATION: 4,
    }
    assert {key: attributes.get(key) for key in expected} == expected
    assert type(attributes[attr.CRUCIBLE_DATASET_ROWS]) is int


def test_facts_of_the_wrong_kind_are_kept_as_they_read(recorded: Recording) -> None:
    attributes = started_with(recorded, dataset=["a", "b"], model=7, seed="lucky", accumulation=None)
    assert attributes[attr.CRUCIBLE_DATASET_NAME] == ("a", "b")
    assert attributes[attr.CRUCIBLE_MODEL_NAME] == 7
    assert attributes[attr.CRUCIBLE_TRAINING_SEED] == "lucky"
    assert attr.CRUCIBLE_TRAINING_ACCUMULATION not in attributes


class Cuda(SimpleNamespace):
    """What this package asks torch for; a machine of the tests need not have a GPU."""

    def get_device_name(self, index: int) -> str:
        return ["NVIDIA A", "NVIDIA B"][index]


def torch_with(is_initialized: Callable[[], bool]) -> ModuleType:
    torch = ModuleType("torch")
    torch.cuda = Cuda(is_initialized=is_initialized, current_device=lambda: 1, device_count=lambda: 2)  # type: ignore[attr-defined]
    torch.version = SimpleNamespace(hip=None)  # type: ignore[attr-defined]
    return torch


def test_a_device_is_told_once_the_program_uses_it(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[bool] = []
    monkeypatch.setitem(sys.modules, "torch", torch_with(lambda: bool(used)))
    with crucible.training_run("before"):
        pass
    with crucible.training_run("during"):
        used.append(True)
    before, during = map(said, recorded.spans)
    assert attr.HW_MODEL not in before
    keys = (attr.HW_TYPE, attr.HW_MODEL, attr.HW_VENDOR, attr.CRUCIBLE_DEVICE_COUNT)
    assert [during[key] for key in keys] == ["gpu", "NVIDIA B", "NVIDIA", 2]


def test_a_torch_that_is_half_imported_is_no_trouble(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    assert attr.HW_TYPE not in started_with(recorded)
    assert warned == []


def test_a_digest_that_cannot_be_one_is_kept_and_marked(recorded: Recording, warned: list[str]) -> None:
    with (
        crucible.training_run(
            "digits", dataset=crucible.Dataset("d", sha256="ab"), model=crucible.Model("m", sha256="A" * 64)
        ) as run,
        run.validation_run(dataset=crucible.Dataset("d", sha256="g" * 64)),
    ):
        pass
    run_says, validation_says = said(recorded.one("training_run")), said(recorded.one("validation_run"))
    assert (run_says[attr.CRUCIBLE_DATASET_SHA256], run_says[attr.CRUCIBLE_MODEL_SHA256]) == ("ab", "a" * 64)
    for shown in (run_says, validation_says):
        assert shown[attr.CRUCIBLE_REPAIRED_KEYS] == (attr.CRUCIBLE_DATASET_SHA256,)
        assert shown[attr.CRUCIBLE_REPAIRED_REASONS] == ("unexpected",)
    assert len(warned) == 2
