"""Two classifiers in numpy, small enough to read: softmax regression, and the same with one hidden layer."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Network:
    """Softmax regression on `inputs` features; with `hidden` units, a multilayer perceptron with ReLU.

    Trained by stochastic gradient descent on the cross-entropy, with L2 decay of the weights.
    """

    def __init__(self, inputs: int, classes: int, *, hidden: int = 0, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        sizes = [inputs, hidden, classes] if hidden else [inputs, classes]
        self.layers = [
            (random.normal(0.0, np.sqrt(2.0 / rows), (rows, columns)), np.zeros(columns))
            for rows, columns in pairwise(sizes)
        ]

    @property
    def size_bytes(self) -> int:
        """Bytes of all weights."""
        return sum(weights.nbytes + bias.nbytes for weights, bias in self.layers)

    def probabilities(self, x: Array) -> Array:
        """Class probabilities, one row an example."""
        return self._forward(x)[-1]

    def accuracy(self, x: Array, y: Array) -> float:
        """Share of examples whose most probable class is right."""
        return float((self.probabilities(x).argmax(axis=1) == y).mean())

    def loss(self, x: Array, y: Array) -> float:
        """Mean cross-entropy in nats."""
        return float(-np.log(self.probabilities(x)[np.arange(len(y)), y] + 1e-12).mean())

    def train_on(self, x: Array, y: Array, learning_rate: float, decay: float) -> tuple[float, float]:
        """One step on a batch; returns the loss before it and the norm of its gradient."""
        loss, gradients = self.gradients(x, y, decay)
        self.descend(gradients, learning_rate)
        return loss, float(np.sqrt(sum(float((each**2).sum()) for each in gradients)))

    def gradients(self, x: Array, y: Array, decay: float) -> tuple[float, list[Array]]:
        """The loss on a batch and its gradients: of each layer those of the weights, then those of the bias."""
        activations = self._forward(x)
        probabilities = activations[-1]
        loss = float(-np.log(probabilities[np.arange(len(y)), y] + 1e-12).mean())
        error = probabilities.copy()
        error[np.arange(len(y)), y] -= 1.0
        error /= len(y)
        found: list[Array] = []
        for index in reversed(range(len(self.layers))):
            weights, _ = self.layers[index]
            found = [activations[index].T @ error + decay * weights, error.sum(axis=0), *found]
            if index:
                error = (error @ weights.T) * (activations[index] > 0)
        return loss, found

    def descend(self, gradients: Sequence[Array], learning_rate: float) -> None:
        """Take one step against the gradients."""
        self.layers = [
            (weights - learning_rate * of_weights, bias - learning_rate * of_bias)
            for (weights, bias), of_weights, of_bias in zip(self.layers, gradients[::2], gradients[1::2], strict=True)
        ]

    def save(self, path: str | Path) -> None:
        """Write the weights as .npz."""
        np.savez(path, *[array for layer in self.layers for array in layer])

    @classmethod
    def load(cls, path: str | Path) -> "Network":
        """Read what `save()` wrote."""
        network = cls.__new__(cls)
        with np.load(path) as stored:
            arrays = [stored[f"arr_{index}"] for index in range(len(stored.files))]
        network.layers = list(zip(arrays[::2], arrays[1::2], strict=True))
        return network

    def _forward(self, x: Array) -> list[Array]:
        """The activations of every layer, the input first, the class probabilities last."""
        activations = [x]
        for weights, bias in self.layers[:-1]:
            activations.append(np.maximum(activations[-1] @ weights + bias, 0.0))
        weights, bias = self.layers[-1]
        scores = activations[-1] @ weights + bias
        exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
        activations.append(exponentials / exponentials.sum(axis=1, keepdims=True))
        return activations


def batches(x: Array, y: Array, size: int, random: np.random.Generator) -> Iterator[tuple[Array, Array]]:
    """The examples in random order, `size` at a time."""
    order = random.permutation(len(y))
    for start in range(0, len(y), size):
        chosen = order[start : start + size]
        yield x[chosen], y[chosen]
