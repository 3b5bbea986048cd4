"""Vanishing and exploding gradients: how large they are at every time step, and what clipping does to them.

1. Sequences of 100 characters; the loss hangs on the guess after the last one. How much of its gradient
   arrives at the first? One step back in time multiplies the gradient of a SimpleRNN's states by the slope of
   its activation, then by U^T. The slope is at most 1, so the norm grows by at most ||U||, the largest
   singular value of U. (The spectral radius, the largest absolute eigenvalue, is what one of many steps does
   in the long run if the slope is 1; for an orthogonal U both are 1.) We look at four ways to initialise U,
   with tanh and with relu. In an LSTM there is a way back from cell state to cell state that multiplies by
   the forget gate instead, in a GRU from state to state by the update gate; how far these are open at first
   is up to their bias. So of an LSTM we look at dL/dc, too: the last h is what the loss sees, but one before
   it is read by the gates of the next step alone.
2. Three ways to clip a gradient that is too large: by value (each element), by norm (each weight), by global
   norm (all weights together). Only the last one keeps its direction.
3. A training that goes wrong without: a SimpleRNN with relu and U = 1 (Le, Jaitly and Hinton, 2015), a guess
   after every character, gradient descent with momentum.

Run it with ``python examples/gradients_through_time.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import common
import numpy as np

import tinyrnn
from tinyrnn import Sequential
from tinyrnn.callbacks import Callback, TerminateOnNaN
from tinyrnn.initializers import Orthogonal
from tinyrnn.inspection import factor_per_step, gradient_norms
from tinyrnn.layers import GRU, LSTM, Dense, Input, Layer, SimpleRNN
from tinyrnn.losses import SparseCategoricalCrossentropy
from tinyrnn.optimizers import SGD
from tinyrnn.plotting import plot_gradient_norms, plot_histories

STEPS, UNITS = 100, 64
FEATURES = len(common.ALPHABET)
SAMPLE = 32  # sequences whose gradient is looked at
BATCH = 32
SHOWN = 100  # updates in the plot of clipping: it is decided by then

# Of logits: a probability of exactly 0 or 1, as exploding states give, would have no gradient.
LOSS = SparseCategoricalCrossentropy(from_logits=True)

CLIPPING: dict[str, dict[str, float]] = {
    "no clipping": {},
    "by value, 0.01": {"clipvalue": 0.01},
    "by norm, 0.5": {"clipnorm": 0.5},
    "by global norm, 0.5": {"global_clipnorm": 0.5},
}


def load_windows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sequences from Python's help texts.

    Returns
    -------
    x : float32 array of shape (count, STEPS, FEATURES)
        One of each FEATURES is 1.
    y : int array of shape (count, STEPS)
        The character after each.
    """
    letters = np.array([common.ALPHABET.index(a) for a in common.plain_text()])
    starts = np.random.default_rng(0).integers(0, len(letters) - STEPS, count)
    windows = letters[starts[:, None] + np.arange(STEPS + 1)]
    return np.eye(FEATURES, dtype="float32")[windows[:, :-1]], windows[:, 1:]


def build_model(layer: Layer, **clipping: float) -> Sequential:
    """Return the layer with a guess after its last step, or after every step if it returns sequences."""
    model = Sequential([Input((STEPS, FEATURES)), layer, Dense(FEATURES)])
    model.compile(SGD(0.05, momentum=0.9, **clipping), LOSS)
    return model


# --- 1. the gradient at every time step -------------------------------------------------------------------


def cases() -> dict[str, dict[str, Layer]]:
    """Return the layers to compare, by the panel of the plot and the name of the curve."""
    initialisations = {
        "Glorot": "glorot_uniform",
        "orthogonal": "orthogonal",  # Keras's: all singular values are 1
        "identity": "identity",
        "2 x orthogonal": Orthogonal(gain=2.0),
    }
    panels: dict[str, dict[str, Layer]] = {}
    for activation in ("tanh", "relu"):
        panels[f"SimpleRNN, {activation}"] = {
            name: SimpleRNN(UNITS, activation, recurrent_initializer=initialisation)
            for name, initialisation in initialisations.items()
        }
    # LSTM: sigmoid(0) = 0.5 of the cell state is kept, sigmoid(1) = 0.73 (Keras's), sigmoid(4) = 0.98.
    panels["gates"] = {f"LSTM, forget bias {b}": lstm(b) for b in (0, 1, 4)}
    panels["gates"] |= {f"GRU, update bias {b}": gru(b) for b in (0, 4)}
    return panels


def lstm(bias: float) -> LSTM:
    """Return an LSTM whose forget gate has this bias."""

    def initial(shape, dtype):  # four gates side by side: i, f, c, o
        return np.repeat([0, bias, 0, 0], UNITS).astype(dtype)

    return LSTM(UNITS, unit_forget_bias=False, bias_initializer=initial)


def gru(bias: float) -> GRU:
    """Return a GRU whose update gate, which keeps the state, has this bias."""

    def initial(shape, dtype):  # z, r, h, and two rows: from the input, from the state
        return np.stack([np.repeat([bias, 0, 0], UNITS), np.zeros(3 * UNITS)]).astype(dtype)

    return GRU(UNITS, bias_initializer=initial)


def look(panels: dict[str, dict[str, Layer]], x: np.ndarray, y: np.ndarray) -> tuple[dict, dict]:
    """Print how the gradient of every case changes; return the norms and the numbers."""
    print("Norm of the gradient dL/dh_t (of an LSTM dL/dc_t, too), before training:\n")
    print(f"{'':32}first/last  factor per step back     ||U||  spectral radius")
    norms: dict[str, dict[str, np.ndarray]] = {}
    numbers: dict[str, dict[str, float]] = {}
    for panel, layers in panels.items():
        for name, layer in layers.items():
            found = gradient_norms(build_model(layer), x, y[:, -1])
            for state, title in (("h", panel), ("c", "cell state")):
                if f"{layer.name}/{state}" in found:
                    values = found[f"{layer.name}/{state}"]
                    norms.setdefault(title, {})[name] = values
                    numbers[f"{title}: {name}"] = describe(layer, values)
                    print_numbers(f"{title}: {name}", numbers[f"{title}: {name}"])
    return norms, numbers


def describe(layer: Layer, norms: np.ndarray) -> dict[str, float]:
    """Return the change over all steps, and of one step; of a SimpleRNN what U lets expect."""
    found = {"ratio": norms[0] / norms[-1], "factor": factor_per_step(norms)}
    if isinstance(layer, SimpleRNN):
        U = layer.cell.recurrent_kernel.numpy()
        found |= {"norm": np.linalg.norm(U, 2), "radius": abs(np.linalg.eigvals(U)).max()}
    return {key: float(value) for key, value in found.items()}


def print_numbers(name: str, found: dict[str, float]) -> None:
    """Print a line."""
    expected = f"{found['norm']:10.2f} {found['radius']:16.2f}" if "norm" in found else ""
    decibels = 20 * np.log10(found["factor"])
    print(f"{name:32}{found['ratio']:10.1e} {found['factor']:10.3f} ({decibels:+5.2f} dB) {expected}")


# --- 2. what clipping does to one gradient ----------------------------------------------------------------


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    """Return all numbers of several arrays in one vector."""
    return np.concatenate([a.ravel() for a in arrays]).astype("float64")


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Return the cosine of the angle between two arrays: 1 where they have the same direction."""
    a, b = a.ravel().astype("float64"), b.ravel().astype("float64")
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def clip_one(model: Sequential, x: np.ndarray, y: np.ndarray) -> dict[str, dict[str, float]]:
    """Print and return what each way of clipping does to the gradient of one batch."""
    start = model.get_weights()
    numbers = {}
    print("\n\nOne gradient, clipped. Cosine: of the angle between what it was and what it is.\n")
    print(f"{'':20}     norm   cosine   of each weight alone: {', '.join(w.name for w in model.weights)}")
    for name, clipping in CLIPPING.items():
        model.set_weights(start)
        model.compile(SGD(1.0, **clipping), LOSS)
        model.train_on_batch(x, y)
        gradients = [w.grad for w in model.trainable_weights]
        # With a learning rate of 1 a step of gradient descent is the gradient that was left.
        clipped = [before - after for before, after in zip(start, model.get_weights(), strict=True)]
        norm = float(np.linalg.norm(flat(clipped)))
        each = [cosine(a, b) for a, b in zip(gradients, clipped, strict=True)]
        numbers[name] = {"norm": norm, "cosine": cosine(flat(gradients), flat(clipped)), "least": min(each)}
        alone = " ".join(f"{value:.3f}" for value in each)
        print(f"{name:20}{norm:9.3g}{numbers[name]['cosine']:9.3f}   {alone}")
    return numbers


# --- 3. a training that explodes --------------------------------------------------------------------------


class GradientSize(Callback):
    """Takes down the norm of the whole gradient at every update, before it is clipped."""

    def __init__(self):
        super().__init__()
        self.norms: list[float] = []

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Look at the gradient: it stays with the weights until the next one."""
        self.norms.append(float(np.linalg.norm(flat([w.grad for w in self.model.trainable_weights]))))


def train(x: np.ndarray, y: np.ndarray, epochs: int, seed: int) -> tuple[dict, dict, dict]:
    """Train the same model with every way of clipping; return histories, sizes of the gradients, numbers."""
    histories, sizes, numbers = {}, {}, {}
    for name, clipping in CLIPPING.items():
        print(f"\n{name}")
        tinyrnn.set_random_seed(seed)
        model = build_model(relu_with_identity(), **clipping)
        size = GradientSize()
        histories[name] = model.fit(x, y, batch_size=BATCH, epochs=epochs, callbacks=[size, TerminateOnNaN()])
        sizes[name] = np.array(size.norms)
        states = model.layers[0](x[:SAMPLE]).numpy()
        numbers[name] = {
            "largest": float(np.nanmax(sizes[name])),
            "dead": float((states.max(axis=(0, 1)) <= 0).mean()),  # units that are 0 whatever they read
            "loss": histories[name].history["loss"][-1],
        }
    return histories, sizes, numbers


def relu_with_identity() -> SimpleRNN:
    """Return a layer whose states add up what comes in, until U is no longer 1."""
    return SimpleRNN(UNITS, "relu", recurrent_initializer="identity", return_sequences=True)


def main(arguments: list[str] | None = None) -> dict:
    """Look at the gradients, clip one, train with all ways of clipping; draw norms and curves."""
    options = common.options(
        __doc__,
        arguments,
        epochs=10,
        sequences=(8000, "of 100 characters, how many to train on"),
        quick={"epochs": 3, "sequences": 2000},
    )
    x, y = load_windows(options.sequences)
    norms, numbers = look(cases(), x[:SAMPLE], y[:SAMPLE])
    plot_gradient_norms(norms, options.figure("gradients_through_time.png"))

    clipped = clip_one(build_model(relu_with_identity()), x[:BATCH], y[:BATCH])
    histories, sizes, trained = train(x, y, options.epochs, options.seed)
    share = np.bincount(y.ravel(), minlength=FEATURES) / y.size
    guessing = float(-sum(p * np.log(p) for p in share if p))
    print(f"\n{'':20}largest gradient  dead units    loss (of the frequencies alone: {guessing:.3f})")
    for name, found in trained.items():
        print(f"{name:20}{found['largest']:16.3g}{found['dead']:12.0%}{found['loss']:10.4g}")
    first = {name: norms[:SHOWN] for name, norms in sizes.items()}
    plot_gradient_norms(first, options.figure("clipping.png"), "norm of the whole gradient", "update")
    curves = plot_histories(histories)
    curves.axes[0].set_ylim(0.5 * guessing, 1.2 * guessing)  # without clipping it starts far above
    curves.savefig(options.figure("clipping_loss.png"))
    print(f"\nPlots: gradients_through_time.png, clipping.png and clipping_loss.png in {options.out}")
    return {"norms": norms, "numbers": numbers, "clipped": clipped, "trained": trained, "guessing": guessing}


if __name__ == "__main__":
    common.run(main)
