import pytest

from tests.store.stored import write
from tests.trace.builders import digits


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch):
    monkeypatch.delenv("CRUCIBLE_JOURNAL", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def journal(tmp_path):
    return str(write(tmp_path / "journal", [digits(1), digits(2, finished=False)]))
