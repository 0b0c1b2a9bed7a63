"""Where nothing is sent there is nobody who could send: no process, no socket. `lsof` with Python, by /proc."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.collector import Misbehaving
from tests.journal.process import start

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")

PROGRAM = """
import os, sys
seen = []
def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.exec", "os.spawn", "os.system")):
        seen.append(event)
sys.addaudithook(watch)
import crucible_trace_otel as crucible
crucible.configure(service_name="s")
with crucible.pipeline("p"), crucible.training_run("r") as run:
    for epoch in run.epochs(3):
        for _ in range(150):
            epoch.record_step(loss=1.0)
    with crucible.stage("s"), crucible.reasoning_chain("q") as chain:
        chain.form_hypothesis("h", confidence=0.5)
    print(sorted(set(seen)), flush=True)
    sys.stdin.readline()
crucible.shutdown()
print(sorted(set(seen)), flush=True)
sys.stdin.readline()
"""


def processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdigit())


def open_files(process: Path) -> list[str]:
    """What a process has open; nothing where it is gone, or somebody else's."""
    try:
        return [target(each) for each in (process / "fd").iterdir()]
    except OSError:
        return []


def target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed while it was looked at
        return ""


def at_work_in(folder: Path) -> set[int]:
    """Every process on this machine that has a file of `folder` open, whoever its parent is."""
    return {int(each.name) for each in processes() if any(f.startswith(str(folder)) for f in open_files(each))}


def below(pid: int) -> set[int]:
    """The processes that descend from `pid`."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for each in processes():
        try:
            fields = (each / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it is gone
            continue
        parents[int(each.name)] = int(fields[1])
    wanted = {pid}
    while wanted:  # a generation each time
        wanted = {child for child, parent in parents.items() if parent in wanted} - found
        found |= wanted
    return found


@pytest.mark.parametrize("sends", [False, True], ids=["no endpoint", "an endpoint"])
def test_without_an_endpoint_there_is_no_process_and_no_socket(tmp_path: Path, sends: bool) -> None:
    """With one there is a process, which shows that this looks in the right place."""
    with Misbehaving() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http_endpoint} if sends else {}
        with start(PROGRAM, tmp_path, **variables) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            for _ in range(2):  # while it records, and when it has said that it records no more
                events = program.stdout.readline()
                if sends:
                    assert "subprocess.Popen" in events
                else:
                    assert events == "[]\n"
                    assert at_work_in(tmp_path) <= {program.pid}
                    assert below(program.pid) == set()
                assert [each for each in open_files(Path(f"/proc/{program.pid}")) if each.startswith("socket:")] == []
                if sends and receiver.wait_for_spans(1):
                    assert at_work_in(tmp_path) - {program.pid}
                program.stdin.write("\n")
                program.stdin.flush()
            _, complaints = program.communicate(timeout=30)
        assert (program.returncode, complaints) == (0, "")
    if not sends:
        assert at_work_in(tmp_path) == set()
        assert not list((tmp_path / ".crucible").glob("shipper*"))
