"""Alice in Wonderland, letter by letter: a SimpleRNN learns to go on with a text.

The task. Ten characters of the book are given, the eleventh is to be told. Every place in the book is such a
question.
The model. A character is a one-hot vector, so no meaning is built in: that "u" follows "q" has to be found
out. A SimpleRNN of 128 units reads ten of them, a softmax says how probable each character is now. To write,
it predicts, a character is chosen, and that becomes the last of the next ten.

Choosing the most probable character each time (greedy) runs in circles: "the said the said the". Drawing one
by its probability does not; a temperature below 1 makes the draw sharper, see `tinyrnn.decoding.sample`.
After every round both are shown, from the same seed.

Run it with ``python examples/alice_characters.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import common
import numpy as np

from tinyrnn.datasets import gutenberg, python_docs
from tinyrnn.decoding import sample
from tinyrnn.layers import Dense, Input, SimpleRNN
from tinyrnn.models import Sequential
from tinyrnn.plotting import plot_history
from tinyrnn.utils import timeseries_dataset_from_array, to_categorical

WINDOW = 10


def load_text(source: str) -> str:
    """Return a book, Python's help texts, or a file, in lower-case ASCII and with its lines joined."""
    if source == "python-docs":
        text = python_docs.load_data()
    elif source in gutenberg.BOOKS:
        text = gutenberg.load_data(source).partition("\n")[2]  # the first line is the title, in brackets
    elif Path(source).is_file():
        text = Path(source).read_text(encoding="utf-8", errors="ignore")
    else:
        raise SystemExit(
            f"--text: {source!r} is no file, no book ({', '.join(gutenberg.BOOKS)}), nor python-docs"
        )
    text = " ".join(text.lower().encode("ascii", "ignore").decode().split())
    if len(text) <= WINDOW:
        raise SystemExit(f"--text: expected more than {WINDOW} characters, found {len(text)}")
    return text


def build_model(characters: int) -> Sequential:
    """Return the model that predicts the next of so many different characters, ready to be trained."""
    model = Sequential(
        [
            Input(shape=(WINDOW, characters)),
            SimpleRNN(128),
            Dense(characters, activation="softmax"),
        ]
    )
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


class Writer:
    """Goes on with a text, one character at a time.

    Parameters
    ----------
    model : Sequential
    characters : str
        All characters; the model knows them by their place.
    """

    def __init__(self, model: Sequential, characters: str):
        self.model = model
        self.index = {character: i for i, character in enumerate(characters)}
        self.characters = characters

    def write(self, seed: str, length: int, temperature: float) -> str:
        """Return the `length` characters that follow the `WINDOW` characters of `seed`."""
        ids = [self.index[character] for character in seed]
        for _ in range(length):
            window = to_categorical(ids[-WINDOW:], len(self.characters))
            ids.append(int(sample(self.model.predict_on_batch(window[None])[0], temperature)))
        return "".join(self.characters[i] for i in ids[WINDOW:])


def share_of_words(written: str, text: str) -> float:
    """Return how many of the written words occur in the text; the first and the last may be cut."""
    words, known = written.split()[1:-1], set(text.split())
    return float(np.mean([word in known for word in words])) if words else 0.0


def show(writer: Writer, seed: str, length: int, temperature: float) -> None:
    """Print how a text goes on, greedy and with a temperature."""
    print(f"  seed             {seed!r}")
    for name, degree in (("greedy", 0.0), (f"temperature {temperature}", temperature)):
        print(f"  {name:16} {writer.write(seed, length, degree)!r}")


def main(arguments: list[str] | None = None) -> dict:
    """Train round by round, write after each; return the figures."""
    options = common.options(
        __doc__,
        arguments,
        epochs=(25, "rounds through the text"),
        batch_size=128,
        text=(
            "carroll-alice",
            "a book of tinyrnn.datasets.gutenberg, python-docs (needs no network), or a file",
        ),
        characters=(1_000_000, "read no more than this", WINDOW + 1),
        temperature=(0.5, "of the draws that are no greedy ones"),
        length=(100, "characters to write"),
        quick={"epochs": 4, "characters": 40_000},
    )
    text = load_text(options.text)[: options.characters]
    characters = "".join(sorted(set(text)))
    one_hot = to_categorical([characters.index(c) for c in text], len(characters))
    print(f"{len(text):,} characters, {len(characters)} different ones: {characters}\n")

    # The windows overlap: ten times the text, were they all made at once.
    windows = timeseries_dataset_from_array(
        one_hot, one_hot[WINDOW:], WINDOW, batch_size=options.batch_size, shuffle=True
    )
    model = build_model(len(characters))
    model.summary()
    writer = Writer(model, characters)
    chance = np.random.default_rng(options.seed)

    def words() -> float:
        return share_of_words(writer.write(text[:WINDOW], 2_000, options.temperature), text)

    curves, before = defaultdict(list), words()
    for n in range(1, options.epochs + 1):
        print(f"Round {n}/{options.epochs}")
        for name, values in model.fit(windows).history.items():
            curves[name] += values
        start = chance.integers(len(text) - WINDOW)
        show(writer, text[start : start + WINDOW], options.length, options.temperature)
    figures = {"words_before": before, "words_after": words(), "loss": curves["loss"]}
    print(f"\nLoss {curves['loss'][0]:.4f} in the first round, {curves['loss'][-1]:.4f} in the last")
    print(
        f"Of the words it writes, {before:.1%} occurred in the text before training, "
        f"{figures['words_after']:.1%} do now"
    )

    figures["plot"] = options.figure("alice_characters.png")
    plot_history(curves, figures["plot"])
    print(f"Curves: {figures['plot']}")
    return figures


if __name__ == "__main__":
    common.run(main)
