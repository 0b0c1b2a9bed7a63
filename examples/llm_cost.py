"""What a session with language models costs: tokens, latency and money, rolled up from each answer to the whole.

    python examples/llm_cost.py

The models are tiny and real: n-grams of words or letters, trained on the descriptions of scikit-learn's data sets, that
stream their tokens. So tokens, latency and time to first token are measured. The prices are those of an example table,
prices-example.json: they were made up. One model is not in it, and what that costs stays unknown. No network is used.
"""

import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

import crucible_trace_otel as crucible

PRICES = Path(__file__).with_name("prices-example.json")
DATASETS = (load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine)
PROVIDER, SEED, LONGEST = "example", 7, 60


@dataclass
class Answer:
    """What a model says about one answer, as the answers of real services do."""

    text: str
    usage: dict[str, int]


class NGrams:
    """A language model: which token follows the last few ones, and how often it did in what it has read."""

    def __init__(self, name: str, text: str, *, tokens: str, order: int) -> None:
        self.name = name
        self._tokens = re.compile(tokens)
        self._followers: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self._random = random.Random(SEED)
        self._prompts: list[list[str]] = []
        read = self._split(text)
        for at, token in enumerate(read):
            for length in range(order + 1):
                if at >= length:
                    self._followers[tuple(read[at - length : at])][token] += 1
        self._order = order

    def stream(self, prompt: str, *, drafts: int = 0) -> Iterator[str | Answer]:
        """The tokens of its answer as they are made, and at last the answer.

        Args:
            prompt: What it goes on from.
            drafts: How many answers it thinks of and throws away, before it gives one.
        """
        asked = self._split(prompt)
        known = max((_common(asked, before) for before in self._prompts), default=0)  # its cache: what it has read
        self._prompts.append(asked)
        thought = sum(len(list(self._go_on(asked))) for _ in range(drafts))
        answer = []
        for token in self._go_on(asked):
            answer.append(token)
            yield token
        usage = {"input": len(asked), "output": thought + len(answer)}
        usage |= {"cached": known} if known else {}
        yield Answer("".join(answer).strip(), usage | ({"reasoning": thought} if thought else {}))

    def _split(self, text: str) -> list[str]:
        return self._tokens.findall(text)

    def _go_on(self, tokens: list[str]) -> Iterator[str]:
        last = tokens[-self._order :]
        for _ in range(LONGEST):
            while tuple(last) not in self._followers:
                last = last[1:]
            followers = self._followers[tuple(last)]
            (token,) = self._random.choices(list(followers), list(followers.values()))
            yield token
            last = [*last, token][-self._order :]
            if token.strip().endswith("."):
                return


def _common(one: list[str], other: list[str]) -> int:
    """How many tokens two prompts begin with together."""
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def ask(model: NGrams, prompt: str, *, drafts: int = 0) -> tuple[crucible.LlmCall, str]:
    """One recorded call: what it answers, and the record that decisions name."""
    with crucible.llm_call(model.name, provider=PROVIDER, about=prompt) as call:
        for part in model.stream(prompt, drafts=drafts):
            if isinstance(part, Answer):
                call.record_usage(part.usage)
                return call, part.text
            call.first_token()
    raise RuntimeError("a stream without an answer")


def session(models: dict[str, NGrams]) -> None:
    """A session of two chains: each decision names the call it was taken in."""
    with crucible.pipeline("describe the data"):
        with crucible.reasoning_chain("what is in the data sets?") as chain:
            for begin in ("The data set contains", "The data set contains the", "This is a copy of"):
                call, text = ask(models["words"], begin)
                first = chain.form_hypothesis(f"{begin} {text}", thought_in=call)
            call, text = ask(models["words"], "The classes are", drafts=3)
            chain.update_confidence(first, 0.5, reasoning=text, thought_in=call)
        with crucible.reasoning_chain("which model writes better?") as chain:
            for name in ("letters", "pairs"):
                call, text = ask(models[name], "The number of")
                chain.evaluate_constraint(f"{name}: {text}", satisfied=text.endswith("."), thought_in=call)
            chain.reject_alternative("letters", reasoning="they are no words")


def main() -> None:
    """Record the session, read it back, and print what it took."""
    text = "\n".join(load().DESCR for load in DATASETS)
    word, letter = r"\s*\S+", r"[\s\S]"
    models = {
        "words": NGrams("words", text, tokens=word, order=2),
        "letters": NGrams("letters", text, tokens=letter, order=5),
        "pairs": NGrams("pairs", text, tokens=word, order=1),
    }
    journal = os.environ.get("CRUCIBLE_JOURNAL", "demo-output/llm-cost")
    with crucible.configure(service_name="describer", journal=journal, prices=PRICES):
        session(models)
    used = crucible.usage(crucible.open_store(journal).latest())
    for call in used.calls:
        first = (
            ""
            if call.time_to_first_token_s is None
            else f", first token after {call.time_to_first_token_s * 1e6:.0f} us"
        )
        took = "" if call.latency_s is None else f"{call.latency_s * 1e3:.2f} ms{first}"
        print(f"{call.model:8} {call.usage.input:4} in {call.usage.output:4} out  {took}")
    print(f"prices: {PRICES.name}, an example")
    sums = [("total", used.total), *((chain.about, spent) for chain, spent in used.inside("reasoning_chain"))]
    sums += [(f"model {model}", spent) for (_, model), spent in used.by_model().items()]
    for name, spent in sums:
        calls = f"{spent.calls:2} {'call ' if spent.calls == 1 else 'calls'}"
        costs = [*spent.amounts, *([f"{spent.unpriced} of unknown cost"] if spent.unpriced else [])]
        print(
            f"{name:28} {calls} {spent.input:4} in ({spent.cached} cached) "
            f"{spent.output:4} out ({spent.reasoning} thinking)  {', '.join(costs)}"
        )
    print(f"more: crucible-trace cost --journal {journal}")


if __name__ == "__main__":
    main()
