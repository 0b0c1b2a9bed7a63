"""Make the convention's Python constants and reference pages from the model, or check that they are current.

python semconv/generate.py            write crucible_trace_otel/semconv/ and docs/convention*
python semconv/generate.py --check    write nothing; exit 1 when the model is refused or a file is stale
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, the folder above is not on the path

from semconv.calls import load_calls  # noqa: E402
from semconv.registry import load  # noqa: E402
from semconv.write_markdown import write_markdown  # noqa: E402
from semconv.write_python import write_python  # noqa: E402

GENERATED = "GENERATED from semconv/model"
FOLDERS = ("crucible_trace_otel/semconv", "docs/convention")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a generated file is stale")
    parser.add_argument("--model", type=Path, default=ROOT / "semconv/model", help="the folder that holds the model")
    parser.add_argument("--out", type=Path, default=ROOT, help="the folder to write below")
    options = parser.parse_args(arguments)
    if not options.model.is_dir():
        parser.error(f"there is no folder {options.model}")
    registry, refusals = load(options.model)
    calls = load_calls(options.model.parent / "calls.yaml", registry, refusals)
    for refusal in refusals:
        print(refusal, file=sys.stderr)
    if refusals:
        print("The model is refused; nothing was generated.", file=sys.stderr)
        return 1
    wanted = {**write_python(registry), **write_markdown(registry, calls)}
    changes = [*_stale(options.out, wanted), *_left_over(options.out, wanted)]
    if not options.check:
        for path, text in changes:
            _put(path, text)
        print(f"{len(wanted)} files, {len(changes)} changed.")
        return 0
    for path, text in changes:
        state = "is stale" if text is not None else "is no longer generated"
        print(f"{path}: {state}; run `python semconv/generate.py`", file=sys.stderr)
    return 1 if changes else 0


def _stale(out: Path, wanted: dict[str, str]) -> list[tuple[Path, str | None]]:
    changes: list[tuple[Path, str | None]] = []
    for name, text in sorted(wanted.items()):
        path = out / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            changes.append((path, text))
    return changes


def _left_over(out: Path, wanted: dict[str, str]) -> list[tuple[Path, str | None]]:
    """Files of an earlier generation that this one does not make; a file without our mark is somebody's own."""
    found = (path for folder in FOLDERS for path in sorted((out / folder).glob("*.*")) if path.is_file())
    return [
        (path, None)
        for path in found
        if path.relative_to(out).as_posix() not in wanted
        and GENERATED in path.read_text(encoding="utf-8").partition("\n")[0]
    ]


def _put(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
