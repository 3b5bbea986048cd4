"""Spoken vowels: which of nine men has said it? Utterances of 7 to 29 frames, read by a GRU under a mask.

The task. An utterance of two vowels is a sequence of frames, 12 numbers each; the answer is the speaker. Each
has 30 utterances to train on. The test part is that of the data set.
The model. Utterances are padded with zeros to one length, and `Masking` marks the frames that are zeros. A
`Bidirectional` `GRU` reads the others, the average over these (`GlobalAveragePooling1D` knows the mask) goes
into a `Dense` with a softmax over the speakers. Noise on the frames keeps it from learning 270 by heart.

That the mask does what it should is measured: what the model says of an utterance must not depend on how
much padding stands behind it. What the same model does without a mask is measured, too.

The baselines compare the average frame of an utterance: with the mean of each speaker's, and with all others.

Run it with ``python examples/spoken_vowels.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import common
import numpy as np

import tinyrnn
from tinyrnn.datasets import spoken_vowels
from tinyrnn.layers import (
    GRU,
    Bidirectional,
    Dense,
    Dropout,
    GaussianNoise,
    GlobalAveragePooling1D,
    Input,
    Masking,
)
from tinyrnn.models import Sequential
from tinyrnn.preprocessing.sequence import pad_sequences

SPEAKERS, COEFFICIENTS = 9, 12


def build_model(masked: bool = True) -> Sequential:
    """Return the classifier, ready to be trained."""
    model = Sequential(
        [
            Input((None, COEFFICIENTS)),
            *([Masking(0.0)] if masked else []),
            GaussianNoise(0.3),
            Bidirectional(GRU(64, dropout=0.2, return_sequences=True)),
            GlobalAveragePooling1D(),
            Dropout(0.5),
            Dense(SPEAKERS, activation="softmax"),
        ]
    )
    optimizer = tinyrnn.optimizers.Adam(learning_rate=0.003)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def nearest(points: np.ndarray, labels: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Return for each row of `unseen` the label of the nearest of `points`."""
    distances = ((unseen[:, None] - points) ** 2).sum(axis=-1)
    return labels[distances.argmin(axis=1)]


def baselines(x: Sequence, y: np.ndarray, x_test: Sequence, y_test: np.ndarray) -> dict[str, float]:
    """Return how often the average frame alone tells the speaker."""
    average, unseen = (np.array([frames.mean(axis=0) for frames in part]) for part in (x, x_test))
    speakers = np.unique(y)
    centres = np.array([average[y == speaker].mean(axis=0) for speaker in speakers])
    found = {
        "nearest speaker": nearest(centres, speakers, unseen),
        "nearest utterance": nearest(average, y, unseen),
    }
    return {name: float((said == y_test).mean()) for name, said in found.items()}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train with and without a mask, compare with the baselines, draw the curves."""
    options = common.options(__doc__, arguments, epochs=60, batch_size=16, quick={"epochs": 10})
    (x, y), (x_test, y_test) = spoken_vowels.load_data()
    every_frame = np.concatenate(list(x))
    mean, deviation = every_frame.mean(axis=0), every_frame.std(axis=0)
    x, x_test = ([(frames - mean) / deviation for frames in part] for part in (x, x_test))
    padded, padded_test = (pad_sequences(part, dtype="float32", padding="post") for part in (x, x_test))
    print(f"{len(x)} utterances to train on, {len(x_test)} to test with, up to {padded.shape[1]} frames\n")

    figures = baselines(x, y, x_test, y_test)
    for name, masked in (("GRU, no mask", False), ("GRU, masked", True)):
        print(name)
        tinyrnn.set_random_seed(options.seed)  # both start from the same weights
        model = build_model(masked)
        history = model.fit(
            padded,
            y,
            batch_size=options.batch_size,
            epochs=options.epochs,
            validation_data=(padded_test, y_test),  # for the curves; nothing is chosen by it
        )
        figures[name] = history.history["val_accuracy"][-1]
    plot = options.figure("spoken_vowels.png")
    history.plot(plot)

    alone = np.concatenate([model.predict(frames[None], verbose=0) for frames in x_test])
    figures["padding"] = float(np.abs(alone - model.predict(padded_test, verbose=0)).max())
    print("\nSpeakers recognized in the test part:")
    for name in ("nearest speaker", "nearest utterance", "GRU, no mask", "GRU, masked"):
        print(f"  {name:18} {figures[name]:.4f}")
    print(f"Padding changes a probability by {figures['padding']:.1e} at most.")
    print(f"\nCurves: {plot}")
    return figures | {"plot": plot}


if __name__ == "__main__":
    common.run(main)
