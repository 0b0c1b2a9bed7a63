"""The names outsiders rely on: complete, documented, and cheap to import."""

import inspect
import subprocess
import sys

import pytest

import crucible_trace_otel as crucible


def test_all_is_sorted_and_every_name_in_it_exists():
    assert crucible.__all__ == sorted(crucible.__all__)
    assert all(hasattr(crucible, name) for name in crucible.__all__)


def test_every_public_name_has_a_docstring():
    for name in crucible.__all__:
        public = getattr(crucible, name)
        if not callable(public):
            continue
        assert inspect.getdoc(public), name
        if inspect.isclass(public):
            for member, value in inspect.getmembers(public, inspect.isroutine):
                if not member.startswith("_"):
                    assert inspect.getdoc(value), f"{name}.{member}"


def test_importing_loads_no_sdk_no_reader_and_no_framework():
    code = "import crucible_trace_otel, sys; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout.split()
    heavy = (
        "opentelemetry.sdk",
        "opentelemetry.exporter",
        "google",
        "rich",
        "click",
        "numpy",
        "sqlite3",
        "grpc",
        "requests",
    )
    assert [name for name in loaded if name.startswith(heavy)] == []
    ours = {name.split(".")[1] for name in loaded if name.startswith("crucible_trace_otel.")}
    assert ours == {"_interruption", "_version", "errors", "journal", "record", "semconv"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        crucible.no_such_name  # noqa: B018


def test_dir_lists_what_is_loaded_late():
    assert set(crucible.__all__) <= set(dir(crucible))
    assert {name for name in dir(crucible) if not name.startswith("__")} <= set(crucible.__all__)
