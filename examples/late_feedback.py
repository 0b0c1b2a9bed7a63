"""Feedback that comes late: one process serves answers, another is told days later what people thought of them.

    python examples/late_feedback.py serve
    python examples/late_feedback.py judge
    python examples/late_feedback.py show

Without a word it does all three, each in a process of its own. The first answers which digits some images show, and
writes a token beside each answer to demo-output/answers.json. The second, which knows nothing else of the first, has a
person, here the label of the image, and a second model judge the answers. The third reads what is linked to what.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import crucible_trace_otel as crucible

if TYPE_CHECKING:
    from crucible_trace_otel.trace.spans import TraceSpan

ANSWERS = Path("demo-output/answers.json")
LEARNED, ASKED = 300, 60
"""How many images are learned from, and how many of the others are asked about."""
ENOUGH = 0.6
"""The share of neighbours that must agree."""


def images() -> tuple[Any, Any]:
    """1,797 images of 8 x 8 pixels, each pixel from 0 to 1, and their digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.data / 16.0, digits.target


def serve() -> None:
    """Answer, each answer with its token."""
    from sklearn.linear_model import LogisticRegression

    x, y = images()
    model = LogisticRegression(max_iter=500).fit(x[:LEARNED], y[:LEARNED])
    answers = []
    with crucible.configure(service_name="digits-api"), crucible.deployment("digits-api", model="logistic regression"):
        for index in range(LEARNED, LEARNED + ASKED):
            with crucible.inference(f"image {index}", batch_size=1) as inference:
                digit = int(model.predict(x[index : index + 1])[0])
            answers.append({"image": index, "digit": digit, "token": inference.feedback_token()})
    ANSWERS.parent.mkdir(exist_ok=True)
    ANSWERS.write_text(json.dumps(answers, indent=1))
    print(f"{ASKED} answers are in {ANSWERS}, each with a token such as\n  {answers[0]['token']}")


def judge() -> None:
    """Record what a person and another model think of each answer."""
    from sklearn.neighbors import KNeighborsClassifier

    x, y = images()
    neighbours = KNeighborsClassifier(5).fit(x[LEARNED + ASKED :], y[LEARNED + ASKED :])
    answers = json.loads(ANSWERS.read_text())
    with crucible.configure(service_name="feedback-desk"):
        for answer in answers:
            token, digit, truth = answer["token"], answer["digit"], int(y[answer["image"]])
            if digit == truth:
                crucible.record_feedback(token, score=5, label="right")
            else:
                crucible.record_feedback(token, score=1, label="wrong", comment=f"it shows {truth}")
            agrees = float(neighbours.predict_proba(x[answer["image"]].reshape(1, -1))[0, digit])
            label = "pass" if agrees >= ENOUGH else "fail"
            crucible.record_evaluation(token, "agreement", score=agrees, label=label, explanation="five neighbours")
    print(f"{2 * len(answers)} judgements are recorded")


def show() -> None:
    """Say what is linked to what, for the answers that were wrong."""
    spans = [
        span
        for trace in crucible.open_store(os.environ.get("CRUCIBLE_JOURNAL", ".crucible")).traces()
        for span in trace.spans
    ]
    answered = {(span.trace_id, span.span_id): span for span in spans if span.operation == "inference"}
    judged: dict[str, list[TraceSpan]] = {}
    for span in spans:
        for link in span.links:
            if link.type == "feedback_on":
                judged.setdefault(answered[link.trace_id, link.span_id].about, []).append(span)
    print(f"{sum(map(len, judged.values()))} judgements of {len(judged)} answers; what was wrong:")
    for about, judgements in judged.items():
        if any(span.attributes.get("crucible.feedback.label") == "wrong" for span in judgements):
            said = [f"{span.attributes['crucible.feedback.source']}: {span.about}" for span in judgements]
            comments = [str(span.attributes.get("crucible.feedback.comment", "")) for span in judgements]
            print(f"  {about}  {'; '.join(said)}  ({' '.join(filter(None, comments))})")


def main() -> None:
    """Do what the command line says, or all of it."""
    steps = {"serve": serve, "judge": judge, "show": show}
    if sys.argv[1:]:
        steps[sys.argv[1]]()
        return
    for name in steps:
        subprocess.run([sys.executable, __file__, name], check=True)


if __name__ == "__main__":
    main()
