"""A certificate for 127.0.0.1 that signs itself, made by the `openssl` of this machine."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.faults.collector import Tls

if TYPE_CHECKING:
    from pathlib import Path


def self_signed(directory: Path, name: str) -> Tls:
    """A new key and a certificate of it."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
    usage = ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", "req", *kind, *subject, *usage, *files], check=True, capture_output=True)
    return Tls(certificate, key)
