"""Small models on disk; a line that must be refused ends with `# <-- `."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from semconv.registry import load

MANIFEST = """
schema_url: https://example.test/schemas/1.0.0
description: A small convention.
"""

HERE = "# <--"


def write_model(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the files below `folder`, a manifest where none is given, and return the model's folder."""
    model = folder / "model"
    for name, text in {"model/manifest.yaml": MANIFEST, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    return model


def area(text: str) -> str:
    """A file of definitions."""
    return "# A small area.\nfile_format: definition/2\n" + dedent(text).lstrip("\n")


def refusals_of(folder: Path, files: Mapping[str, str]) -> list[str]:
    """What is refused about the files, in order."""
    _, refusals = load(write_model(folder, files))
    return list(refusals)


def marked_lines(folder: Path) -> list[str]:
    """`path:line` of every marked line, in order."""
    return [
        f"{path.as_posix()}:{number}"
        for path in sorted(folder.rglob("*.yaml"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if HERE in line
    ]


def attribute(key: str, *, mark: str = "", type_: str = "string", examples: str = "[a]") -> str:
    """An attribute that nothing is wrong with, for a model that something else is wrong with."""
    return (
        f"  - key: {key} {mark}\n    type: {type_}\n    stability: development\n"
        f"    brief: Something.\n    examples: {examples}\n"
    )


def span(name: str, *, mark: str = "", more: str = "", extras: str = "signal: span") -> str:
    """A span that nothing is wrong with."""
    return (
        f"  - type: crucible.internal.{name} {mark}\n    kind: internal\n    stability: development\n"
        f"    requirement_level: recommended\n    brief: Something.\n    name: {{note: {name}}}\n"
        f"    annotations: {{crucible: {{{extras}}}}}\n{more}"
    )


def event(name: str, *, mark: str = "", more: str = "", extras: str = "signal: event, operation: [work]") -> str:
    """An event that nothing is wrong with, on the operation `work`."""
    return (
        f"  - name: {name} {mark}\n    stability: development\n    requirement_level: recommended\n"
        f"    brief: Something.\n    annotations: {{crucible: {{{extras}}}}}\n{more}"
    )


def metric(name: str, *, mark: str = "", more: str = "", unit: str = "'1'", instrument: str = "gauge") -> str:
    """A metric that nothing is wrong with."""
    return (
        f"  - name: {name} {mark}\n    instrument: {instrument}\n    unit: {unit}\n    stability: development\n"
        f"    requirement_level: recommended\n    brief: Something.\n"
        f"    annotations: {{code_generation: {{metric_value_type: double}}}}\n{more}"
    )


def attributes(*entries: str) -> str:
    """A section of attributes."""
    return "attributes:\n" + "".join(entries)


def references(*lines: str) -> str:
    """What a signal refers to, one line each."""
    return "    attributes:\n" + "".join(f"      - {line}\n" for line in lines)


WORK = span("work")
DEFINED = attributes(attribute("crucible.run.id"))
