"""Models that break one rule about names or references: the text, and what the refusal must say."""

from tests.semconv.models import DEFINED, HERE, WORK, attribute, attributes, event, metric, references, span

NAMES = {
    "name outside the regex": (attributes(attribute("crucible.Run.id", mark=HERE)), "is no attribute name"),
    "double underscore": (attributes(attribute("crucible.run__id", mark=HERE)), "is no attribute name"),
    "name that is a namespace": (
        attributes(attribute("crucible.run", mark=HERE), attribute("crucible.run.id")),
        "is a namespace of `crucible.run.id`",
    ),
    "metric that is a namespace": (
        "metrics:\n" + metric("crucible.cost", mark=HERE) + metric("crucible.cost.total"),
        "is a namespace of `crucible.cost.total`",
    ),
    "two names make one constant": (
        attributes(attribute("crucible.run.last_id"), attribute("crucible.run_last.id", mark=HERE)),
        "make one constant, `CRUCIBLE_RUN_LAST_ID`",
    ),
    "a template's constant": (
        attributes(
            attribute("crucible.metric", type_="template[string]"), attribute("crucible.metric_template", mark=HERE)
        ),
        "make one constant",
    ),
    "duplicate attribute": (
        attributes(attribute("crucible.run.id"), attribute("crucible.run.id", mark=HERE)),
        "is a duplicate",
    ),
    "duplicate span": ("spans:\n" + WORK + span("work", mark=HERE), "is a duplicate"),
    "duplicate event": ("spans:\n" + WORK + "events:\n" + event("a") + event("a", mark=HERE), "is a duplicate"),
    "duplicate metric": ("metrics:\n" + metric("crucible.a") + metric("crucible.a", mark=HERE), "is a duplicate"),
    "attribute of somebody else's": (attributes(attribute("gen_ai.thought", mark=HERE)), "namespace that is not ours"),
    "metric of somebody else's": ("metrics:\n" + metric("gen_ai.cost", mark=HERE), "namespace that is not ours"),
    "event of somebody else's": (
        "spans:\n" + WORK + "events:\n" + event("gen_ai.thought", mark=HERE),
        "namespace that is not ours",
    ),
    "span of somebody else's": (
        "spans:\n" + WORK.replace("crucible.internal.work", f"http.client {HERE}"),
        "call it `crucible.internal.client`",
    ),
    "group of somebody else's": (
        DEFINED + f"attribute_groups:\n  - id: http.common {HERE}\n    visibility: public\n    brief: Some.\n"
        "    attributes: [{ref: crucible.run.id}]\n",
        "namespace that is not ours",
    ),
    "event with capitals": ("spans:\n" + WORK + "events:\n" + event("Started", mark=HERE), "is no event name"),
}

REFERENCES = {
    "unresolved ref": (
        "spans:\n" + span("work", more=references(f"{{ref: crucible.run.id}} {HERE}")),
        "refers to `crucible.run.id`, which nothing defines",
    ),
    "unresolved group": (
        "spans:\n" + span("work", more=references(f"ref_group: crucible.run {HERE}")),
        "refers to the group `crucible.run`, which nothing defines",
    ),
    "same ref twice": (
        DEFINED
        + "spans:\n"
        + span("work", more=references("{ref: crucible.run.id}", f"{{ref: crucible.run.id}} {HERE}")),
        "is a duplicate",
    ),
    "same key from two groups": (
        DEFINED
        + "attribute_groups:\n"
        + "".join(
            f"  - {{id: crucible.{name}, visibility: internal, attributes: [{{ref: crucible.run.id}}]}}\n"
            for name in ("one", "two")
        )
        + "spans:\n"
        + span("work", more=references("ref_group: crucible.one", f"ref_group: crucible.two {HERE}")),
        "from two groups",
    ),
    "group in a group": (
        DEFINED
        + "attribute_groups:\n"
        + "  - {id: crucible.one, visibility: public, brief: One., attributes: [{ref: crucible.run.id}]}\n"
        + "  - id: crucible.two\n    visibility: public\n    brief: Two.\n"
        + references(f"ref_group: crucible.one {HERE}"),
        "refers to another group",
    ),
    "internal group nobody uses": (
        DEFINED + f"attribute_groups:\n  - id: crucible.one {HERE}\n    visibility: internal\n"
        "    attributes: [{ref: crucible.run.id}]\n",
        "nothing refers to the internal group",
    ),
    "unknown requirement level": (
        DEFINED
        + "spans:\n"
        + span("work", more=references(f"{{ref: crucible.run.id, requirement_level: mandatory}} {HERE}")),
        "unknown: `mandatory`; use `required`",
    ),
    "condition without words": (
        DEFINED
        + "spans:\n"
        + span("work", more=references(f"{{ref: crucible.run.id, requirement_level: conditionally_required}} {HERE}")),
        "names no condition",
    ),
    "sampling relevance of an event's attribute": (
        DEFINED
        + "spans:\n"
        + WORK
        + "events:\n"
        + event("a", more=references(f"{{ref: crucible.run.id, sampling_relevant: true}} {HERE}")),
        "unknown key `sampling_relevant`",
    ),
    "key of a template": (
        attributes(attribute("crucible.metric", type_="template[string]"))
        + "spans:\n"
        + span("work", more=references(f"{{ref: crucible.metric.loss}} {HERE}")),
        "refer to the template `crucible.metric`",
    ),
    "template on a metric": (
        attributes(attribute("crucible.label", type_="template[string]"))
        + "metrics:\n"
        + metric("crucible.cost", more=references(f"{{ref: crucible.label}} {HERE}")),
        "refers to the template `crucible.label`",
    ),
    "content on a metric": (
        attributes(attribute("crucible.text") + "    annotations: {crucible: {content: true}}\n")
        + "metrics:\n"
        + metric("crucible.cost", more=references(f"{{ref: crucible.text}} {HERE}")),
        "which is content",
    ),
    "signal more stable than its attribute": (
        DEFINED
        + "spans:\n"
        + span("work", more=references("{ref: crucible.run.id}"), mark=HERE).replace(
            "stability: development", "stability: stable"
        ),
        "is stable and its attribute `crucible.run.id` only development",
    ),
}
