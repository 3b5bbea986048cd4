"""A recurrent network by hand: the loop over time, backpropagation through time, and what each step adds.

The task. A SimpleRNN of 64 units reads 100 characters of English, each a vector of 32 numbers (one of them
1), and guesses the character after them. Here it isn't trained: we look at one guess and at the gradient of
its loss. Everything is computed with a few lines of NumPy, each below its equation, and compared with what
tinyrnn says: by autograd over the steps ("unrolled"), and by the code derived from the cell's equations,
with arrays ("array") and compiled ("cpu", or "gpu" on one). All agree to rounding.

Vectors are rows, as in Keras, so weights stand on the right: x_t W where textbooks have W x_t.

Run it with ``python examples/rnn_by_hand.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

from typing import NamedTuple

import common
import numpy as np

import tinyrnn
from tinyrnn import ops
from tinyrnn.layers import Dense, SimpleRNN
from tinyrnn.plotting import plot_gradient_norms

STEPS, FEATURES, UNITS = 100, 32, 64


class Weights(NamedTuple):
    """Of the recurrent layer, and of the layer that makes a guess of its last state."""

    W: np.ndarray  # (FEATURES, UNITS), from the input
    U: np.ndarray  # (UNITS, UNITS), from the state before
    b: np.ndarray  # (UNITS,)
    V: np.ndarray  # (UNITS, FEATURES), from the last state
    c: np.ndarray  # (FEATURES,)


class Terms(NamedTuple):
    """What each time step adds to the gradients of W, U and b: the first axis is the time."""

    W: np.ndarray
    U: np.ndarray
    b: np.ndarray


# --- by hand ----------------------------------------------------------------------------------------------


def forward(x: np.ndarray, w: Weights) -> np.ndarray:
    """Return the states (T + 1, UNITS) for inputs (T, FEATURES): zeros, then one for each step."""
    h = np.zeros((len(x) + 1, len(w.U)), x.dtype)
    for t in range(1, len(h)):
        # h_t = tanh(x_t W + h_{t-1} U + b)        (x counts from 0: x_1 is x[0])
        h[t] = np.tanh(x[t - 1] @ w.W + h[t - 1] @ w.U + w.b)
    return h


def guess(h_last: np.ndarray, w: Weights) -> np.ndarray:
    """Return how likely each character is to come next: p = softmax(h_T V + c)."""
    z = h_last @ w.V + w.c
    e = np.exp(z - z.max())  # the largest is taken off so that nothing overflows; the quotient is the same
    return e / e.sum()


def backward(x: np.ndarray, y: int, h: np.ndarray, w: Weights) -> tuple[Terms, np.ndarray]:
    """Return the terms of the gradients of L = -log p[y], and dL/dh_t for t = 1 ... T.

    W, U and b act at every step, so each of their gradients is a sum over time; the terms are not added here.
    """
    steps = len(x)
    terms = Terms(*(np.zeros((steps, *a.shape), x.dtype) for a in (w.W, w.U, w.b)))
    states = np.zeros_like(h[1:])

    # The loss sees the last state alone.       dL/dh_T = (p - 1_y) V^T,  1_y: one for the right character
    dh = (guess(h[-1], w) - np.eye(len(w.c), dtype=x.dtype)[y]) @ w.V.T
    for t in range(steps, 0, -1):
        states[t - 1] = dh
        # h_t = tanh(z_t), tanh' = 1 - tanh^2:    dL/dz_t = dL/dh_t * (1 - h_t^2)
        dz = dh * (1 - h[t] ** 2)
        # z_t = x_t W + h_{t-1} U + b:            what this step adds to
        terms.W[t - 1] = np.outer(x[t - 1], dz)  # dL/dW = sum over t of  x_t^T     dL/dz_t
        terms.U[t - 1] = np.outer(h[t - 1], dz)  # dL/dU = sum over t of  h_{t-1}^T dL/dz_t
        terms.b[t - 1] = dz  #                     dL/db = sum over t of            dL/dz_t
        # and on to the step before:              dL/dh_{t-1} = dL/dz_t U^T
        dh = dz @ w.U.T
    return terms, states


# --- by tinyrnn -------------------------------------------------------------------------------------------


def build_layers(dtype: str, kernel: str, weights: Weights | None = None) -> tuple[SimpleRNN, Dense]:
    """Return the recurrent layer and the one that guesses, with these weights or random ones."""
    layer = SimpleRNN(UNITS, return_sequences=True, kernel=kernel, dtype=dtype)
    readout = Dense(FEATURES, dtype=dtype)
    layer.build((1, STEPS, FEATURES))
    readout.build((1, UNITS))
    if weights is not None:
        layer.set_weights(weights[:3])
        readout.set_weights(weights[3:])
    return layer, readout


def by_tinyrnn(x: np.ndarray, y: int, w: Weights, kernel: str) -> dict[str, np.ndarray]:
    """Return the states after every step and the gradients, as the package computes them."""
    layer, readout = build_layers(x.dtype.name, kernel, w)
    h = layer(x[None])  # a batch of one sequence
    loss = -ops.log_softmax(readout(h[:, -1]))[0, y]
    dW, dU, db = tinyrnn.grad(loss, layer.trainable_weights)
    return {"h": h.numpy()[0], "dL/dW": dW.numpy(), "dL/dU": dU.numpy(), "dL/db": db.numpy()}


# --- side by side -----------------------------------------------------------------------------------------


def compare(x: np.ndarray, y: int, w: Weights) -> dict[str, dict[str, float]]:
    """Return, for each kernel and quantity, the largest difference to ours, of the largest value."""
    h = forward(x, w)
    terms, _ = backward(x, y, h, w)
    ours = {"h": h[1:], "dL/dW": terms.W.sum(0), "dL/dU": terms.U.sum(0), "dL/db": terms.b.sum(0)}
    kernels = ("unrolled", "array", tinyrnn.get_device())  # three ways in which tinyrnn runs a sequence
    found = {kernel: by_tinyrnn(x, y, w, kernel) for kernel in kernels}
    return {
        kernel: {key: float(abs(theirs[key] - a).max() / abs(a).max()) for key, a in ours.items()}
        for kernel, theirs in found.items()
    }


def shares(terms: np.ndarray) -> np.ndarray:
    """Return which part of their sum each term is, measured along the sum: together they are 1."""
    total = terms.sum(0)
    return np.tensordot(terms, total, total.ndim) / (total**2).sum()


def norms(terms: np.ndarray) -> np.ndarray:
    """Return the Euclidean norm of each term."""
    return np.sqrt((terms.reshape(len(terms), -1) ** 2).sum(1))


def read_text(start: int) -> str:
    """Return STEPS + 1 characters of Python's help texts."""
    text = common.plain_text()
    if not 0 <= start < len(text) - STEPS:
        raise SystemExit(f"--start: expected a number from 0 to {len(text) - STEPS - 1}, found {start}")
    return text[start : start + STEPS + 1]


def print_terms(text: str, terms: Terms, dh: np.ndarray) -> None:
    """Print what single steps add to dL/dU, from the last one back."""
    share, size = shares(terms.U), norms(terms.U)
    print("\nThe sum over time of dL/dU. A term's share is measured along the sum; all are 100%.\n")
    print("  step  reads  |dL/dh_t|  |term of dL/dU|   share  this and later")  # h_0 = 0: step 1 adds nothing
    for t in [*range(STEPS, STEPS - 5, -1), *range(STEPS - 10, 0, -10), 1]:
        so_far = share[t - 1 :].sum()
        print(
            f"{t:6} {text[t - 1]!r:>6} {np.linalg.norm(dh[t - 1]):10.2e} {size[t - 1]:16.2e} "
            f"{share[t - 1]:7.1%} {so_far:12.1%}"
        )


def main(arguments: list[str] | None = None) -> dict:
    """Compute one gradient in four ways, print the differences and the terms, draw the terms."""
    options = common.options(__doc__, arguments, start=(3000, "where in the text to begin", 0), quick={})
    text = read_text(options.start)
    print(f"Reads {text[:-1]!r}\nand should guess {text[-1]!r}.")
    letters = np.array([common.ALPHABET.index(a) for a in text])
    x, y = np.eye(FEATURES)[letters[:-1]], int(letters[-1])
    layer, readout = build_layers("float64", "auto")
    weights = Weights(*layer.get_weights(), *readout.get_weights())

    differences = {}
    for dtype in ("float64", "float32"):
        differences[dtype] = compare(x.astype(dtype), y, Weights(*(a.astype(dtype) for a in weights)))
        print(f"\nLargest difference between tinyrnn and the loops by hand, {dtype}:")
        for kernel, found in differences[dtype].items():
            print(f"  {kernel:9}" + "".join(f"  {key} {value:.0e}" for key, value in found.items()))

    h = forward(x, weights)
    probability = guess(h[-1], weights)[y]
    print(
        f"\nIt gives {text[-1]!r} a probability of {probability:.1%}: the loss is {-np.log(probability):.3f}."
    )
    terms, dh = backward(x, y, h, weights)
    print_terms(text, terms, dh)
    # A single term for b is as long as that for W, since each x_t has the length 1; it is not drawn.
    sizes = {f"dL/d{name}": norms(terms._asdict()[name]) for name in "UW"}
    earlier = {f"dL/d{name}": norms(terms._asdict()[name].cumsum(axis=0)) for name in "UW"}
    plot = options.figure("rnn_by_hand.png")
    panels = {"what each step adds": sizes, "what this and all earlier steps add": earlier}
    plot_gradient_norms(panels, plot, quantity="norm")
    print(f"\nPlot: {plot}")
    return {
        "loss": float(-np.log(probability)),
        "differences": differences,
        "shares": shares(terms.U),
        "norms": sizes,
        "earlier": earlier,
    }


if __name__ == "__main__":
    common.run(main)
