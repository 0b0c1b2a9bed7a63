"""Checkpoints, models and other files on disk.

Where to look:

_files           saved and loaded, and found again by their path
_digests         SHA-256 and size, computed by a thread of its own
_manifest        one digest of a directory
_sidecar         what the small file beside a checkpoint says
_sidecar_files   where sidecars lie, read without trust and written whole
"""
