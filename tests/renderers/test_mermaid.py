"""Judged by Mermaid's own parser, in one Node process for many diagrams."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crucible_trace_otel.renderers import render
from crucible_trace_otel.renderers.areas import COLOURS, OTHER, area_of
from crucible_trace_otel.renderers.mermaid import escape
from crucible_trace_otel.renderers.words import plain
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.spans import TraceLink
from tests.trace.builders import TraceBuilder, digits

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crucible-trace-otel"
INSTALL = [str(HERE / "install-mermaid.sh"), str(CACHE)]


@pytest.fixture(scope="session")
def parse():
    """Mermaid's parser: diagrams to what it understood of each."""
    place = Path(subprocess.run([*INSTALL, "where"], check=True, capture_output=True, text=True).stdout.strip())
    if not place.exists() and os.environ.get("CI") == "true":
        subprocess.run(INSTALL, check=True)
    if not place.exists() or shutil.which("node") is None:
        pytest.skip("no Mermaid parser for the tests: install Node 18 or later with npm, then run `make mermaid`")

    def parsed(diagrams):
        lines = "".join(json.dumps(diagram) + "\n" for diagram in diagrams)
        node = ["node", str(HERE / "parse.mjs"), str(place)]
        done = subprocess.run(
            node, input=lines, capture_output=True, text=True, timeout=300, encoding="utf-8", check=False
        )
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(diagrams), done.stderr
        return answers

    return parsed


def test_a_whole_run():
    small = digits(epochs=1)
    diagram = render(small, "mermaid")
    assert diagram == render(small, "mermaid-flowchart")
    assert (
        diagram
        == """\
flowchart TD
    s0000000100000001["pipeline digits<br/>9 s"]:::pipeline
    s0000000100000002["stage load<br/>250 ms"]:::pipeline
    s0000000100000003["reasoning_chain #34;which model reads the digits#63;#34;<br/>4 ms"]:::reasoning
    s0000000100000007["stage train<br/>6 s"]:::pipeline
    s000000010000000c["deployment #34;digits in production#34;<br/>900 ms"]:::deployment
    s0000000100000004["hypothesis_formed #34;softmax is enough#34;<br/>confidence 0.6"]:::hypothesis
    s0000000100000005["constraint_evaluated #34;memory under 10 MB#34;<br/>satisfied"]:::constraint
    s0000000100000006["confidence_updated #34;softmax is enough#34;<br/>confidence 0.6 → 0.9"]:::confidence
    s0000000100000008["training_run #34;digits#34;<br/>5.8 s, loss 0.25"]:::training
    s000000010000000d["model_load #34;digits.npz#34;<br/>10 ms"]:::deployment
    s000000010000000e["inference #34;a blank page#34;<br/>2 ms<br/>✗ ValueError#58; no digit"]:::deployment
    s0000000100000009["epoch 0<br/>3 s, loss 0.6667, 3 steps, loss 2 → 0.6667"]:::training
    s000000010000000b["model_save #34;digits.npz#34;<br/>20 ms, 5.2 kB"]:::training
    s000000010000000a["validation_run #34;accuracy 0.5#34;"]:::training
    s0000000100000001 --> s0000000100000002
    s0000000100000001 --> s0000000100000003
    s0000000100000001 --> s0000000100000007
    s0000000100000001 --> s000000010000000c
    s0000000100000003 --> s0000000100000004
    s0000000100000003 --> s0000000100000005
    s0000000100000003 --> s0000000100000006
    s0000000100000007 --> s0000000100000008
    s000000010000000c --> s000000010000000d
    s000000010000000c --> s000000010000000e
    s0000000100000008 --> s0000000100000009
    s0000000100000008 --> s000000010000000b
    s0000000100000009 --> s000000010000000a
    s0000000100000005 -. "depends_on" .-> s0000000100000004
    s0000000100000008 -. "depends_on" .-> s0000000100000004
    s000000010000000d -. "serves" .-> s000000010000000b
    classDef reasoning fill:#ede7f6,stroke:#4527a0,color:#212121
    classDef hypothesis fill:#e8f5e9,stroke:#2e7d32,color:#212121
    classDef constraint fill:#fff3e0,stroke:#ef6c00,color:#212121
    classDef confidence fill:#f3e5f5,stroke:#6a1b9a,color:#212121
    classDef training fill:#e0f2f1,stroke:#00695c,color:#212121
    classDef pipeline fill:#eceff1,stroke:#37474f,color:#212121
    classDef deployment fill:#e1f5fe,stroke:#0277bd,color:#212121
    classDef folded fill:#ffffff,stroke:#9e9e9e,stroke-dasharray:4 3
"""
    )


def test_mermaid_understands_a_run_as_it_was_meant(parse):
    trace = digits()
    (understood,) = parse([render(trace, "mermaid")])
    assert set(understood["labels"]) == {f"s{span.span_id}" for span in trace.spans}
    assert understood["labels"]["s0000000100000003"] == 'reasoning_chain "which model reads the digits?"<br>4 ms'
    assert understood["classes"]["s0000000100000003"] == ["reasoning"]
    solid = {(start, end) for start, end, _, stroke in understood["edges"] if stroke == "normal"}
    assert solid == {(f"s{span.parent_id}", f"s{span.span_id}") for span in trace.spans if span.parent_id}
    dotted = [edge[:3] for edge in understood["edges"] if edge[3] == "dotted"]
    assert dotted == [
        ["s0000000100000005", "s0000000100000004", "depends_on"],
        ["s0000000100000008", "s0000000100000004", "depends_on"],
        ["s000000010000000f", "s000000010000000d", "serves"],
    ]


# Words and marks that mean something to Mermaid, or to the browser that draws it, or to the line they stand on.
HOSTILE = [
    "",
    " ",
    "end",
    "graph",
    "subgraph",
    "flowchart TD",
    "style",
    "style a fill:#fff;",
    "classDef x:#fff;",
    "click",
    "default",
    "o",
    "x",
    "a --> b",
    "[",
    "]",
    "((",
    "))",
    "{",
    "}",
    "|",
    '"',
    "'",
    "`",
    "`**bold**`",
    "#",
    "#35;",
    "#quot;",
    ";",
    "&amp;",
    "<b>x</b>",
    "<script>alert(1)</script>",
    "<br/>",
    "\n",
    "\r\n",
    "\t",
    "%%",
    "%%{init: {}}%%",
    "---",
    ":::",
    "@",
    "\\",
    "\\n",
    "$$x$$",
    "fa:fa-car",
    "1. one",
    "- two",
    "\U0001f980",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "שלום",
    "مرحبا",
    "\u202eevil",
    "\u2028",
    "\x00",
    "\x1b[31m",
    "\ud800",
    "…",
    "°°",
    "ﬂ°°35¶ß",
    "x" * 300,
    "é",
    "日本語",
    "http://a.b/c?d=e&f=g#h",
    "C:\\temp",
    "a_b",
    "50%",
    "~~~",
    "==",
    "-.-",
    "constructor",
    "__proto__",
]


def hostile_corpus() -> list[str]:
    """The list itself, each pair with itself, and what hypothesis thinks of, all found without the parser."""
    found = list(HOSTILE)
    mixed = random.Random(7)
    found += ["".join(mixed.choices(HOSTILE, k=3)) for _ in range(150)]

    @settings(
        max_examples=150,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.text(st.characters(), max_size=30))
    def collect(text):
        found.append(text)

    collect()
    return found


def diagram_of(text: str):
    build = TraceBuilder()
    cause = build.add(spans.HYPOTHESIS_FORMED, text, lasts=1)
    build.add(None, text, cause, name=text, status="error", status_message=text, lasts=1)
    mirrored = {
        attr.CRUCIBLE_DEPENDENCY_TYPES: (text,),
        attr.CRUCIBLE_DEPENDENCY_SPAN_IDS: ("f" * 16,),
        attr.CRUCIBLE_DEPENDENCY_NAMES: (f"{text}: {text}: {text}",),
        f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.{text}": text,
    }
    build.add(spans.EPOCH, text, cause, 1, 1, causes=[(text or LinkType.REFINES, cause)])
    build.add(spans.EPOCH, text, cause, 2, 1, attributes=mirrored, links=(TraceLink("a" * 32, "b" * 16),))
    return build.trace()


def test_no_text_breaks_a_diagram_or_says_another_thing_in_it(parse):
    corpus = hostile_corpus()
    diagrams = [render(diagram_of(text), "mermaid") for text in corpus]
    diagrams += [render(diagram_of(text), "mermaid", ascii=True) for text in corpus]
    for text, understood in zip(corpus * 2, parse(diagrams), strict=True):
        assert "error" not in understood, (text, understood)
        assert len(understood["labels"]) == 6, text
        shown = understood["labels"]["s0000000100000002"].split("<br>")[0]
        assert shown == (plain(text, 80) or "(no name)"), text


def test_the_diagram_in_ascii_is_ascii():
    assert render(diagram_of("日本語 → …"), "mermaid", ascii=True).isascii()


def test_a_large_trace_is_folded_to_what_a_diagram_holds_and_says_so(parse):
    build = TraceBuilder()
    root = build.add(spans.TUNING_STUDY, "wide", lasts=1_000)
    for trial in range(400):
        one = build.add(spans.TRIAL, f"trial {trial}", root, trial, 1, name=f"trial {trial}")
        for epoch in range(30):
            causes = [(LinkType.DEPENDS_ON, root), (LinkType.REFINES, one), (LinkType.SUPPORTS, build.spans[-1])]
            build.add(spans.EPOCH, "#" * 70 if trial % 2 else "short", one, trial + epoch / 40, 0.01, causes=causes)
    diagram = render(build.trace(), "mermaid")
    (understood,) = parse([diagram])
    assert len(diagram) < 50_000
    assert len(understood["labels"]) <= 201
    assert len(understood["edges"]) <= 500
    assert understood["labels"]["rest"] == "… 12201 more operations than a diagram holds"


def test_siblings_past_twelve_are_one_node():
    diagram = render(digits(epochs=50), "mermaid")
    assert '    fold0["… 39 more epochs"]:::folded\n' in diagram
    assert "    s0000000100000008 --> fold0\n" in diagram


def test_every_operation_of_the_convention_has_a_colour():
    names = [name for key, name in vars(spans).items() if key.isupper()]
    assert [name for name in names if area_of(name) not in COLOURS or area_of(name) == OTHER] == []
    assert area_of("GET /") == OTHER
    assert area_of("unheard_of_started") == OTHER


@given(st.text())
def test_an_escaped_text_holds_nothing_that_ends_a_label(text):
    assert not set(escape(text)) & set("\"`[](){}|<>\n\r\\&'")
