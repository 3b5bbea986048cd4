"""Spelling to sound: an encoder reads a word letter by letter, a decoder says it phoneme by phoneme.

The task. English words and how they are spoken, from a pronouncing dictionary: "through" is TH R UW. Neither
are there as many phonemes as letters, nor does the first go with the first: that is what the encoder and
the decoder are for.
The model. The encoder, an `LSTM`, reads the letters from the last to the first. Of it only its two states h
and c are kept, and these are the states the decoder, another `LSTM`, starts from.
Training. The decoder is given the right phonemes up to t and must tell the one at t + 1 (teacher forcing), so
all steps are trained at once. The learning rate falls to zero along half a cosine.
Decoding. There are no right phonemes to give: the same layers run one step at a time, states in and states
out, and read what they have just said. Greedy search takes the most probable phoneme; beam search follows the
most probable beginnings, several at a time.

A tenth of the words is held out. A word is right if what is said is one of its pronunciations in the
dictionary. The phoneme error rate is the edits needed to get to the nearest of them, per phoneme of it.
Stress is left out, as are words with other characters than letters and apostrophes. Words are held out
without regard to their kin, so of some the plural or the genitive was there to learn from.

Run it with ``python examples/spelling_to_sound.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import tinyrnn
from tinyrnn.datasets import cmudict
from tinyrnn.decoding import Step, beam_search, greedy_search, step_of
from tinyrnn.layers import LSTM, Dense, Dropout, Embedding, Input
from tinyrnn.metrics import sequence_error_rate
from tinyrnn.models import Model
from tinyrnn.optimizers.schedules import CosineDecay
from tinyrnn.preprocessing.sequence import pad_sequences

LETTERS = "abcdefghijklmnopqrstuvwxyz'"
START, END, FIRST = 1, 2, 3  # symbols of the decoder; 0 is padding, for letters as for phonemes
HELD_OUT, SPLIT_SEED = 0.1, 113
SHOWN = 8  # words that were held out

Pronunciations = list[tuple[str, ...]]


def build_model(phonemes: int, units: int) -> tuple[Model, Model, Model]:
    """Return one encoder and decoder, put together in two ways: to be trained, and to run step by step.

    Returns
    -------
    training : Model
        ``[letters (B, T), phonemes (B, S)] -> probabilities of the next phonemes (B, S, phonemes)``.
    encoder : Model
        ``letters (B, T) -> [h (B, units), c (B, units)]``.
    decoder : Model
        One step, ``[phoneme (B, 1), h, c] -> [probabilities (B, 1, phonemes), h, c]``.
    """
    letters = Input((None,), dtype="int32", name="letters")
    embedded = Embedding(1 + len(LETTERS), 64, mask_zero=True)(letters)
    _, *encoded = LSTM(units, dropout=0.1, go_backwards=True, return_state=True)(embedded)

    embed = Embedding(phonemes, 64, mask_zero=True)
    decode = LSTM(units, dropout=0.1, return_sequences=True, return_state=True)
    drop, choose = Dropout(0.3), Dense(phonemes, activation="softmax")

    said = Input((None,), dtype="int32", name="said")
    y, *_ = decode(embed(said), initial_state=encoded)
    training = Model([letters, said], choose(drop(y)))

    last, h, c = Input((1,), dtype="int32", name="last"), Input((units,)), Input((units,))
    y, *states = decode(embed(last), initial_state=[h, c])
    return training, Model(letters, encoded), Model([last, h, c], [choose(y), *states])


def split(dictionary: dict[str, Pronunciations]) -> tuple[list[str], list[str]]:
    """Return the words to train on and those held out, in the order of chance."""
    words = [word for word in dictionary if set(word) <= set(LETTERS)]
    np.random.RandomState(SPLIT_SEED).shuffle(words)
    held_out = round(HELD_OUT * len(words))
    return words[held_out:], words[:held_out]


def encode_words(words: list[str]) -> np.ndarray:
    """Return words as rows of letter numbers, padded at the end."""
    return pad_sequences([[1 + LETTERS.index(letter) for letter in word] for word in words], padding="post")


def training_pairs(
    words: list[str], dictionary: dict[str, Pronunciations], number: dict[str, int]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return inputs and targets: every pronunciation of a word is an example; targets are a step ahead."""
    pairs = [(word, phonemes) for word in words for phonemes in dictionary[word]]
    said = [[number[phoneme] for phoneme in phonemes] for _, phonemes in pairs]
    given = pad_sequences([[START, *row] for row in said], padding="post")
    wanted = pad_sequences([[*row, END] for row in said], padding="post")
    return [encode_words([word for word, _ in pairs]), given], wanted


def pronounce(encoder: Model, step: Step, words: list[str], names: list[str], width: int) -> Pronunciations:
    """Return how the words are spoken: by beam search, or greedily if the width is 1."""
    found: dict[str, tuple[str, ...]] = {}
    by_length = sorted(words, key=len)  # of a batch, all go on until the last has ended
    for begin in range(0, len(words), 512):
        batch = by_length[begin : begin + 512]
        x = encode_words(batch)
        search: dict[str, Any] = {"start": START, "end": END, "maxlen": 2 * x.shape[1] + 4}
        states = encoder.predict_on_batch(x)
        if width == 1:
            rows = greedy_search(step, states, **search)
        else:
            rows = [c[0][0] for c in beam_search(step, states, **search, width=width)]
        found |= {word: tuple(names[i] for i in row) for word, row in zip(batch, rows, strict=True)}
    return [found[word] for word in words]


def show_steps(encoder: Model, step: Step, word: str, names: list[str]) -> None:
    """Print what the decoder thinks at every step: the three most probable phonemes."""
    states, symbol = encoder.predict_on_batch(encode_words([word])), START
    print(f"\n{word}, step by step:")
    for _ in range(2 * len(word) + 4):
        p, states = step(np.array([symbol]), states)
        best = np.argsort(-p[0])[:3]
        print("  " + "   ".join(f"{names[i]:>5} {p[0, i]:6.1%}" for i in best))
        symbol = best[0]
        if symbol == END:
            break


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train, pronounce the words held out, count what is right."""
    options = common.options(
        __doc__,
        arguments,
        epochs=10,
        batch_size=128,
        units=(256, "of encoder and decoder each"),
        rate=(0.002, "of learning, at the beginning"),
        width=(4, "of the beam"),
        words=(10**6, "at most, to train on", 2),
        test_words=(10**6, "at most, to test with"),
        say=("through tinyrnn", "words to say at the end"),
        quick={"epochs": 5, "units": 96, "words": 8000, "test_words": 1000, "rate": 0.005},
    )
    asked = options.say.lower().split()
    if not set("".join(asked)) <= set(LETTERS):
        raise SystemExit(f"--say: expected words of the letters {LETTERS}, found {options.say!r}")
    dictionary = cmudict.load_data(stress=False)
    names = ["", "start", "end", *sorted({s for said in dictionary.values() for p in said for s in p})]
    number = {name: i for i, name in enumerate(names)}
    words, unseen = split(dictionary)
    words, unseen = words[: options.words], unseen[: options.test_words]
    x, y = training_pairs(words, dictionary, number)
    print(f"{len(words):,} words ({len(y):,} pronunciations) to train on, {len(unseen):,} held out\n")

    model, encoder, decoder = build_model(len(names), options.units)
    held_back = max(1, len(y) // 50)
    steps = options.epochs * -(-(len(y) - held_back) // options.batch_size)
    optimizer = tinyrnn.optimizers.Adam(CosineDecay(options.rate, steps), clipnorm=1.0)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    training, validation = (
        (([a[part] for a in x]), y[part]) for part in (np.s_[held_back:], np.s_[:held_back])
    )
    history = model.fit(
        *training, batch_size=options.batch_size, epochs=options.epochs, validation_data=validation
    )
    plot = options.figure("spelling_to_sound.png")
    history.plot(plot)
    print(f"\nCurves: {plot}")

    figures, step = {}, step_of(decoder)
    right = [dictionary[word] for word in unseen]
    for name, width in (("greedy", 1), ("beam", options.width)):
        said = pronounce(encoder, step, unseen, names, width)
        exact = np.mean([s in r for s, r in zip(said, right, strict=True)])
        figures[f"{name} exact"], figures[f"{name} error"] = float(exact), sequence_error_rate(right, said)
        print(f"{name:7} {exact:.2%} of the words right, phoneme error rate {figures[f'{name} error']:.2%}")
    print("\nSome of these words, as said and as in the dictionary:")
    for word, found in zip(unseen[:SHOWN], said, strict=False):
        known = "right" if found in dictionary[word] else f"not {' '.join(dictionary[word][0])}"
        print(f"  {word:12} {' '.join(found)} ({known})")
    for word in asked:
        print(f"  {word:12} {' '.join(pronounce(encoder, step, [word], names, options.width)[0])}")
    show_steps(encoder, step, unseen[0], names)
    return figures | {"plot": plot}


if __name__ == "__main__":
    common.run(main)
