"""Models that break one rule about a definition's shape or sense: the text, and what the refusal must say."""

from tests.semconv.models import DEFINED, HERE, WORK, attribute, attributes, event, metric, references, span

SIGNALS = {
    "unit missing on a metric": (
        "metrics:\n" + metric("crucible.cost", mark=HERE).replace("    unit: '1'\n", ""),
        "has no `unit`",
    ),
    "unit in a metric's name": ("metrics:\n" + metric("crucible.cost_total", mark=HERE), "ends with `_total`"),
    "duration that is no histogram": ("metrics:\n" + metric("crucible.run.duration", mark=HERE), "no histogram in `s`"),
    "unknown instrument": (
        "metrics:\n" + metric("crucible.cost", instrument=f"meter {HERE}"),
        "unknown: `meter`; use `counter`",
    ),
    "metric without a value type": (
        "metrics:\n"
        + metric("crucible.cost")
        .replace("code_generation: {metric_value_type: double}", "crucible: {}")
        .replace("crucible: {}}", "crucible: {operation: [work]}} " + HERE)
        + "spans:\n"
        + WORK,
        "has no value type",
    ),
    "event without an operation": (
        "events:\n" + event("a", extras="signal: event").replace("event}}", f"event}}}} {HERE}"),
        "has no operation",
    ),
    "event of an unknown operation": ("events:\n" + event("a", mark=HERE), "operation `work`, which nothing defines"),
    "boundary of an unknown span": (
        "spans:\n"
        + WORK
        + "events:\n  - name: a\n    stability: development\n    requirement_level: recommended\n    brief: A.\n"
        + "    annotations:\n      crucible:\n        signal: event\n        operation: [work]\n"
        + f"        boundary: {{span: play, at: end}} {HERE}\n",
        "is the end of the span `play`, which nothing defines",
    ),
    "both, and no event": (
        "spans:\n" + span("work", mark=HERE, extras="signal: both"),
        "is defined as no event",
    ),
    "both, and no span": (
        "spans:\n" + WORK + "events:\n" + event("a", mark=HERE, extras="signal: both, operation: [work]"),
        "is defined as no span",
    ),
    "span and event of one name": (
        "spans:\n" + span("work", mark=HERE) + "events:\n" + event("work", extras="signal: both, operation: [work]"),
        "is defined as a span and as an event",
    ),
    "boundary at no known moment": (
        "spans:\n"
        + WORK
        + span("rest", extras="signal: span, boundary: {span: work, at: noon}").replace("}}}", f"}}}}}} {HERE}"),
        "unknown: `noon`; use `start`, `end` or `interruption`",
    ),
    "deprecated for no known reason": (
        "spans:\n" + WORK + "events:\n" + event("a", more=f"    deprecated: {{reason: old, note: No.}} {HERE}\n"),
        "unknown: `old`",
    ),
    "flag that is no flag": (
        "spans:\n" + span("work", extras="signal: span, long: maybe").replace("}}", f"}}}} {HERE}"),
        "neither `true` nor `false`",
    ),
    "operation that is no text": (
        "spans:\n" + span("work", extras="signal: span, operation: [1]").replace("}}", f"}}}} {HERE}"),
        "holds something that is not text",
    ),
    "span without a signal": ("spans:\n" + span("work", extras="").replace("{}}", f"{{}}}} {HERE}"), "has no signal"),
    "long without markers": (
        "spans:\n"
        + span("work", mark=HERE, extras="signal: span, long: true")
        + span("work_started", extras="signal: span, boundary: {span: work, at: start}"),
        "has no marker `work_interrupted`",
    ),
    "marker of what is not long": (
        "spans:\n" + WORK + span("work_started", mark=HERE, extras="signal: span, boundary: {span: work, at: start}"),
        "marks `work`, which is not long",
    ),
    "renamed to nothing": (
        "spans:\n"
        + WORK
        + "events:\n"
        + event("a", more=f"    deprecated: {{reason: renamed, renamed_to: b, note: Use b.}} {HERE}\n"),
        "renamed to `b`, which nothing defines",
    ),
    "renamed without a new name": (
        "spans:\n" + WORK + "events:\n" + event("a", more=f"    deprecated: {{reason: renamed, note: No.}} {HERE}\n"),
        "renamed without a new name",
    ),
    "unknown kind": ("spans:\n" + WORK.replace("kind: internal", f"kind: inner {HERE}"), "unknown: `inner`"),
}

SHAPES = {
    "missing brief": (
        attributes(attribute("crucible.run.id", mark=HERE).replace("    brief: Something.\n", "")),
        "has no `brief`; add it",
    ),
    "empty brief": (
        attributes(attribute("crucible.run.id").replace("Something.", f"'' {HERE}")),
        "is not text",
    ),
    "brief without a full stop": (
        attributes(attribute("crucible.run.id").replace("Something.", f"Something {HERE}")),
        "does not end with a full stop",
    ),
    "unknown key": (
        attributes(attribute("crucible.run.id") + f"    colour: red {HERE}\n"),
        "unknown key `colour`; use `key`, `type`",
    ),
    "unknown extra": (
        attributes(attribute("crucible.run.id") + f"    annotations: {{crucible: {{colour: red}}}} {HERE}\n"),
        "unknown key `colour`; use `content`",
    ),
    "unknown section": (f"colours: [red] {HERE}\n", "unknown key `colours`"),
    "public group without a brief": (
        DEFINED + f"attribute_groups:\n  - id: crucible.one {HERE}\n    visibility: public\n"
        "    attributes: [{ref: crucible.run.id}]\n",
        "is public and has no `brief`",
    ),
    "internal group with a brief": (
        DEFINED + f"attribute_groups:\n  - id: crucible.one\n    visibility: internal\n    brief: One. {HERE}\n"
        "    attributes: [{ref: crucible.run.id}]\nspans:\n" + span("work", more=references("ref_group: crucible.one")),
        "is internal and may have no `brief`",
    ),
    "key twice": (
        attributes(attribute("crucible.run.id") + f"    brief: Another. {HERE}\n"),
        "`brief` stands twice",
    ),
    "a date that is none": (
        attributes(attribute("crucible.run.id", examples=f"[2026-13-45] {HERE}")),
        "looks like a number or a date and is none",
    ),
    "a date without quotes": (
        attributes(attribute("crucible.run.id", examples=f"[2026-11-24] {HERE}")),
        "is read as a date; put it in quotes",
    ),
    "not a list": (f"attributes: crucible {HERE}\n", "is not a list"),
    "not a mapping": (f"attributes:\n  - crucible.run.id {HERE}\n", "is not a mapping"),
}


def enum(member, *, class_name="Kind"):
    return (
        f"  - key: crucible.kind\n    type:\n      members:\n        - {member} {HERE}\n    stability: development\n"
        f"    brief: A kind.\n    annotations: {{crucible: {{enum: {class_name}}}}}\n"
    )


TYPES = {
    "unknown type": (attributes(attribute("crucible.a", type_=f"text {HERE}")), "unknown type: `text`; use `string`"),
    "any": (attributes(attribute("crucible.a", type_=f"any {HERE}")), "may be anything; choose a type"),
    "template of any": (attributes(attribute("crucible.a", type_=f"template[any] {HERE}")), "may be anything"),
    "template of nothing known": (attributes(attribute("crucible.a", type_=f"template[text] {HERE}")), "unknown type"),
    "template of a template": (
        attributes(attribute("crucible.a", type_=f"template[template[int]] {HERE}")),
        "a template of an unknown type",
    ),
    "template above a name": (
        attributes(attribute("crucible.a", type_="template[string]", mark=HERE), attribute("crucible.a.b")),
        "the template `crucible.a` is a namespace of",
    ),
    "template with members": (
        attributes(
            attribute("crucible.a", type_=f"template[string] {HERE}")
            + "    annotations: {crucible: {enum: A, members: [{id: a, value: a, brief: A., stability: stable}]}}\n"
        ),
        "is a template and has members",
    ),
    "value beside a type": (
        attributes(attribute("crucible.a") + f"    annotations: {{crucible: {{value: bytes}}}} {HERE}\n"),
        "beside a type that says it",
    ),
    "example of another type": (
        attributes(attribute("crucible.a", type_="int", examples=f"[one] {HERE}")),
        "is not of type `int`",
    ),
    "true is no int": (
        attributes(attribute("crucible.a", type_="int", examples=f"[true] {HERE}")),
        "is not of type `int`",
    ),
    "no examples": (
        attributes(attribute("crucible.a", mark=HERE).replace("    examples: [a]\n", "")),
        "has no `examples`",
    ),
    "enum member without stability": (attributes(enum("{id: a, value: a, brief: A.}")), "has no `stability`"),
    "enum member without a brief": (attributes(enum("{id: a, value: a, stability: stable}")), "has no `brief`"),
    "enum member with capitals": (
        attributes(enum("{id: A, value: A, brief: A., stability: stable}")),
        "is no member name",
    ),
    "enum members alike": (
        attributes(
            enum(
                "{id: a, value: a, brief: A., stability: stable}\n"
                "        - {id: b, value: a, brief: B., stability: stable}"
            )
        ),
        "the member `a` of `crucible.kind` is a duplicate",
    ),
    "class in small letters": (
        attributes(
            "  - key: crucible.kind "
            + HERE
            + "\n    type: {members: [{id: a, value: a, brief: A., stability: stable}]}\n"
            "    stability: development\n    brief: A kind.\n    annotations: {crucible: {enum: kind}}\n"
        ),
        "is no class name",
    ),
    "two classes of one name": (
        attributes(
            *(
                f"  - key: crucible.{key}\n    type: {{members: [{{id: a, value: a, brief: A., stability: stable}}]}}\n"
                "    stability: development\n    brief: A kind.\n    annotations: {crucible: {enum: Kind}}\n"
                for key in ("one", f"two {HERE}")
            )
        ),
        "make one class, `Kind`",
    ),
    "class without values": (
        attributes(attribute("crucible.a") + f"    annotations: {{crucible: {{enum: Kind}}}} {HERE}\n"),
        "has no values",
    ),
    "values without a class": (
        attributes(
            "  - key: crucible.a\n"
            f"    type: {HERE}\n"
            "      members: [{id: a, value: a, brief: A., stability: stable}]\n"
            "    stability: development\n    brief: A.\n"
        ),
        "have no class",
    ),
}
