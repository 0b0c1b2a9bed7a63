"""What a run is made from: hyperparameters, data set, model.

crucible.training_run(
    "digits",
    hyperparameters={"optimizer": {"name": "adam", "betas": [0.9, 0.999]}},
    dataset=crucible.Dataset("uci-digits", version="1.0", rows=1797, split="train"),
    model=crucible.Model("softmax", parameters=650),
)
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral
from types import SimpleNamespace
from typing import Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._unexpected import digest_in
from crucible_trace_otel.record._values import Repairs, as_json, printable, with_template
from crucible_trace_otel.semconv import attributes as attr

__all__ = [
    "Dataset",
    "Model",
    "check_digests",
    "dataset_attributes",
    "flattened",
    "hyperparameter_attributes",
    "model_attributes",
    "run_facts",
]

_MOST_HYPERPARAMETERS = 32  # of the 128 attributes that an SDK span keeps by default
_MOST_LEAVES = 1_000
_DEEPEST = 8
_LONGEST_LIST = 8


@dataclass(frozen=True)
class Dataset:
    """The data that a run trains on, or is judged on.

    Args:
        name: What it is called.
        version: Which version of it.
        sha256: SHA-256 of the data, hexadecimal.
        size: In bytes.
        rows: How many rows, samples, it has.
        split: Which part of it: `train`, `test`.
    """

    name: str
    version: str | None = None
    sha256: str | None = None
    size: int | None = None
    rows: int | None = None
    split: str | None = None


@dataclass(frozen=True)
class Model:
    """The model that a run trains.

    Args:
        name: What it is called.
        version: Which version of it.
        parameters: How many parameters it has.
        sha256: SHA-256 of the weights it starts from, hexadecimal.
    """

    name: str
    version: str | None = None
    parameters: int | None = None
    sha256: str | None = None


@guarded(lambda *_: {})
def run_facts(hyperparameters: Any, dataset: Any, model: Any, seed: Any, accumulation: Any) -> dict[str, Any]:
    """The attributes that say what a run is made from."""
    return {
        attr.CRUCIBLE_TRAINING_SEED: seed,
        attr.CRUCIBLE_TRAINING_ACCUMULATION: accumulation,
        **dataset_attributes(dataset),
        **model_attributes(model),
        **hyperparameter_attributes(hyperparameters),
    }


@guarded(lambda given: {attr.CRUCIBLE_DATASET_NAME: given})
def dataset_attributes(given: Any) -> dict[str, Any]:
    """The attributes of a `Dataset`, or of a data set of which only the name is given."""
    if not isinstance(given, Dataset):
        return {attr.CRUCIBLE_DATASET_NAME: given}
    return {
        attr.CRUCIBLE_DATASET_NAME: _text(given.name),
        attr.CRUCIBLE_DATASET_VERSION: _text(given.version),
        attr.CRUCIBLE_DATASET_SHA256: _text(given.sha256),
        attr.CRUCIBLE_DATASET_SIZE: _whole(given.size),
        attr.CRUCIBLE_DATASET_ROWS: _whole(given.rows),
        attr.CRUCIBLE_DATASET_SPLIT: _text(given.split),
    }


@guarded(nothing)
def check_digests(known: dict[str, Any], repairs: Repairs) -> None:
    """Mark the digests of the data set and the model among the attributes `known` that cannot be any."""
    for key in (attr.CRUCIBLE_DATASET_SHA256, attr.CRUCIBLE_MODEL_SHA256):
        if key in known:
            known[key] = digest_in(repairs, key, known[key])


@guarded(lambda given: {attr.CRUCIBLE_MODEL_NAME: given})
def model_attributes(given: Any) -> dict[str, Any]:
    """The attributes of a `Model`, or of a model of which only the name is given."""
    if not isinstance(given, Model):
        return {attr.CRUCIBLE_MODEL_NAME: given}
    return {
        attr.CRUCIBLE_MODEL_NAME: _text(given.name),
        attr.CRUCIBLE_MODEL_VERSION: _text(given.version),
        attr.CRUCIBLE_MODEL_SHA256: _text(given.sha256),
        attr.CRUCIBLE_MODEL_PARAMETER_COUNT: _whole(given.parameters),
    }


@guarded(lambda given: {attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE + ".value": given})
def hyperparameter_attributes(given: Any) -> dict[str, Any]:
    """Hyperparameters as attributes, nested ones flattened; those past the first 32 together as one JSON object."""
    return with_template(
        attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE, flattened(given), most_names=_MOST_HYPERPARAMETERS
    )


def flattened(given: Any) -> Any:
    """Nested hyperparameters as one mapping, with dots between the levels: `optimizer.lr`, `optimizer.betas.0`.

    Mappings, dataclasses and namespaces are opened, and lists of up to eight items. What is longer, empty, or deeper
    than eight levels stays one value, which becomes JSON text; so does, under `…`, what is past a thousand values.
    """
    if not _parts(given):
        return given
    flat: dict[str, Any] = {}
    for name, value in _leaves(given, "", 0):
        if len(flat) == _MOST_LEAVES:
            flat["…"] = f"more than {_MOST_LEAVES} values were given"
            break
        key = name or "_"
        while key in flat:
            key += "_"
        flat[key] = value
    return flat


def _leaves(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    parts = _parts(value) if depth < _DEEPEST else None
    if not parts:
        yield name, as_json(value) if isinstance(value, (list, tuple, Mapping)) else value
        return
    for key, part in parts:
        yield from _leaves(part, f"{name}.{printable(key)}" if name else printable(key), depth + 1)


def _parts(value: Any) -> list[tuple[Any, Any]] | None:
    """What `value` is made of, by name or by place; None where it is one value, or does not let itself be opened."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return list(enumerate(value)) if len(value) <= _LONGEST_LIST else None
    try:
        return _named_parts(value)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
        let_through(error)
        return None


def _named_parts(value: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(value, Mapping):
        return list(value.items())
    if is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name, None)) for field in fields(value)]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=False))
    if isinstance(value, (SimpleNamespace, *_of_argparse())):
        return list(vars(value).items())
    return None


def _of_argparse() -> tuple[type, ...]:
    """The namespace of argparse, if the program uses it."""
    argparse = sys.modules.get("argparse")
    return () if argparse is None else (argparse.Namespace,)


def _text(value: Any) -> str | None:
    return None if value is None else printable(value)


def _whole(value: Any) -> Any:
    """A count as an integer, also where it comes as `1797.0`; anything else as it was given."""
    is_whole = isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
    return int(value) if is_whole else value
