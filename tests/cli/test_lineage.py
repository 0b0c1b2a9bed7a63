import json

import pytest

from crucible_trace_otel.renderers.story import document, lines
from crucible_trace_otel.trace.lineage import lineage
from tests.cli.running import crucible_trace
from tests.store.stored import write
from tests.trace.lives import life, served


@pytest.fixture
def journals(tmp_path):
    """What was trained in one journal, what serves in another, what was said in a third."""
    traces = life()
    parts = {"training": traces[:2], "serving": traces[2:3], "late feedback": traces[3:]}
    return [str(write(tmp_path / name, some)) for name, some in parts.items()]


def test_a_lineage_is_told_across_journals(journals):
    options = [word for path in journals for word in ("--journal", path)]
    shown = crucible_trace("lineage", "digits-api", *options)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == list(lines(lineage(life(), "digits-api")))
    as_json = crucible_trace("lineage", "digits-api", "--json", *options)
    assert json.loads(as_json.stdout) == document(lineage(life(), "digits-api"))


def test_one_journal_of_the_environment_is_read_when_none_is_given(journals, monkeypatch):
    monkeypatch.setenv("CRUCIBLE_JOURNAL", journals[2])  # its path has a space in it
    assert crucible_trace("lineage", "digits-api").exit_code == 1
    monkeypatch.setenv("CRUCIBLE_JOURNAL", journals[0])
    assert crucible_trace("lineage", "softmax").exit_code == 0


@pytest.mark.parametrize(
    ("subject", "code", "said"),
    [
        ("nobody", 1, "Nothing that is stored answers to 'nobody'."),
        ("sha256:xyz", 2, "'xyz' is no SHA-256: it has characters that are no hexadecimal digits."),
        ("digits-api", 2, "'digits-api' is deployed in 2 environments; ask for one of them: `digits-api@production`"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(tmp_path, subject, code, said):
    path = write(tmp_path / "j", [served(3, 20), served(4, 40, environment="staging")])
    shown = crucible_trace("lineage", subject, "--journal", path)
    assert (shown.exit_code, shown.stdout) == (code, "")
    assert shown.stderr.startswith(said)
    assert shown.stderr.count("\n") == 1


def test_a_path_without_a_journal_among_several_is_an_error(journals, tmp_path):
    shown = crucible_trace("lineage", "softmax", "--journal", journals[0], "--journal", tmp_path / "none")
    assert (shown.exit_code, shown.stdout) == (2, "")
    assert str(tmp_path / "none") in shown.stderr
