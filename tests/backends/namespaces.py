"""Machines on this machine: processes with a network and a host name of their own, joined by a bridge."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from typing_extensions import Self

# Says that it is apart, and waits for its network before it becomes the program.
_APART = 'echo "$0" > /proc/sys/kernel/hostname && echo apart && read -r network && exec "$@"'


class Machines:
    """A bridge with an address that each machine can reach; a context manager that takes all away again.

    Skips the test, with the reason, where such a thing cannot be made.
    """

    def __init__(self) -> None:
        number = os.getpid()
        self._name = f"cru{number % 10_000_000}"
        self._subnet = f"198.18.{number % 250}"  # the range that is set aside for tests of networks (RFC 2544)
        self.address = f"{self._subnet}.1"
        """Of the bridge, in the namespace of the test."""
        self._processes: list[subprocess.Popen[str]] = []
        self._links: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._make_bridge()
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            said = getattr(error, "stderr", "") or error
            pytest.skip(f"no networks of their own can be made here (this takes root, iproute2 and util-linux): {said}")
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _make_bridge(self) -> None:
        _run("unshare", "--net", "--uts", "true")
        if f" {self._subnet}." in _run("ip", "-4", "-o", "address"):
            raise OSError(f"{self._subnet}.0/24 is in use")
        _run("ip", "link", "add", self._name, "type", "bridge")
        self._links.append(self._name)
        _run("ip", "address", "add", f"{self.address}/24", "dev", self._name)
        _run("ip", "link", "set", self._name, "up")

    def start(
        self, host: str, command: list[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[str]:
        """Run `command` in `folder` on a new machine called `host`."""
        process = subprocess.Popen(
            ["unshare", "--net", "--uts", "--", "sh", "-c", _APART, host, *command],
            cwd=folder,
            env=dict(environment),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "apart\n"
        number = len(self._processes)
        link = f"{self._name}v{number}"
        inside = ("nsenter", "--net", f"--target={process.pid}", "ip")
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(process.pid))
        self._links.append(link)
        _run("ip", "link", "set", link, "master", self._name, "up")
        _run(*inside, "address", "add", f"{self._subnet}.{number + 1}/24", "dev", "eth0")
        _run(*inside, "link", "set", "eth0", "up")
        _run(*inside, "link", "set", "lo", "up")
        process.stdin.write("network\n")
        process.stdin.close()
        process.stdin = None  # so that communicate() does not close it once more
        return process

    def close(self) -> None:
        """End what still runs, and take the network away."""
        for process in self._processes:
            process.kill()
            process.wait()
        while self._links:
            subprocess.run(["ip", "link", "delete", self._links.pop()], check=False, capture_output=True)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
