"""The names of the files in a journal directory: who wrote what, told from the name alone.

20261124T093015-4711-9f86d081-0000.segment          records of one process, its first file
20261124T093015-4711-9f86d081-0001.segment          the next, after 8 MiB
20261124T093015-4711-9f86d081-recovered.segment     the ends of what that process left open when it died
20261124T093015-4711-9f86d081.ring                  the steps of its open windows
20261124T093015-4711-9f86d081-0000.segment.acks     what became of the records of a segment
kept-0007.segment                                   what was kept of segments that went when the journal was full
shipper@host.lease                                  locked by who sends from this machine
shipper@host.state                                  how sending goes for it
next@host.lease                                     locked by who is to send next, elsewhere
"""

import re
from pathlib import Path
from typing import Final

__all__ = [
    "ACKS",
    "KEPT",
    "LEASE",
    "LOG",
    "RECOVERED",
    "RING",
    "SEGMENT",
    "STATE",
    "acks_of",
    "is_of_journal",
    "prefix_of",
    "recovered_of",
    "ring_of",
    "segment_of",
]

SEGMENT: Final = ".segment"
RING: Final = ".ring"
ACKS: Final = ".acks"
LEASE: Final = ".lease"
STATE: Final = ".state"
LOG: Final = "shipper.log"
RECOVERED: Final = "recovered"
KEPT: Final = "kept"
"""The prefix of segments that no writer owns."""
_PART = re.compile(rf"-(?:\d{{4,}}|{RECOVERED})$")


def is_of_journal(path: Path) -> bool:
    """Whether a file is one that a journal may hold, by its name."""
    unfinished = path.name[0] == "." and path.suffix == ".new"
    return unfinished or path.name.startswith(LOG) or path.suffix in {SEGMENT, RING, ACKS, LEASE, STATE}


def prefix_of(path: Path) -> str:
    """What the names of all files of one writer begin with."""
    name = path.name.removesuffix(ACKS)
    return _PART.sub("", name.removesuffix(SEGMENT).removesuffix(RING))


def segment_of(directory: Path, prefix: str, number: int) -> Path:
    """The segment `number`, from 0, of a writer."""
    return directory / f"{prefix}-{number:04d}{SEGMENT}"


def recovered_of(directory: Path, prefix: str) -> Path:
    """The segment with the ends of what a dead writer left open."""
    return directory / f"{prefix}-{RECOVERED}{SEGMENT}"


def ring_of(directory: Path, prefix: str) -> Path:
    """The file that holds the steps of a writer's open windows."""
    return directory / f"{prefix}{RING}"


def acks_of(segment: Path) -> Path:
    """The file that says what became of the records of a segment."""
    return segment.with_name(segment.name + ACKS)
