"""Nine men say two vowels, many times: frames of speech of varying number, and the question who it was."""

from __future__ import annotations

import numpy as np

from tinyrnn.datasets.fetch import Arrays, Carrier, RawFile, cached, fetch

__all__ = ["load_data"]


def _file(part: str, sha256: str) -> RawFile:
    name = f"JapaneseVowels_{part}.ts"
    member = f"aeon/datasets/data/JapaneseVowels/{name}"
    return RawFile(name, (Carrier("aeon", "1.6.0", member, sha256),))


TRAIN = _file("TRAIN", "68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd")
TEST = _file("TEST", "b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462")
READING = "reading 1"  # count up when `_read` changes: cached arrays are then made again


def load_data(
    path: str = "spoken_vowels.npz",
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return 270 utterances to train on, 30 of each speaker, and 370 to test with, 24 to 88 of each.

    An utterance is of 7 to 29 frames, each of 12 cepstrum coefficients of linear prediction. The speakers are
    the same in both parts, which are those of the data set. Utterances come in the order of the speakers.

    The first call downloads twice 6 MB with pip; later ones read the arrays from the folder of
    `tinyrnn.datasets`.

    Parameters
    ----------
    path : str
        Name of the file in that folder that keeps the arrays.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        x: array of objects of shape (utterances,), each a float32 array (frames, 12). y: int64 array of shape
        (utterances,), speakers from 0 to 8.

    Raises
    ------
    OSError
        If the data can't be had: which file to put where.

    Notes
    -----
    "Japanese Vowels" by M. Kudo, J. Toyama and M. Shimbo, UCI Machine Learning Repository
    (doi.org/10.24432/C5NS47), under the licence CC BY 4.0; described in "Multidimensional Curve
    Classification Using Passing-Through Regions", Pattern Recognition Letters 20, 1999. It is fetched in the
    wheel ``aeon`` 1.6.0 (github.com/aeon-toolkit/aeon), which is under the BSD 3-clause licence. tinyrnn
    contains none of it.
    """
    made_from = f"{TRAIN.sources[0].sha256} {TEST.sources[0].sha256} {READING}"
    stored = cached(path, made_from, lambda: _read("train", fetch(TRAIN)) | _read("test", fetch(TEST)))
    return _utterances(stored, "train"), _utterances(stored, "test")


def _read(part: str, text: bytes) -> Arrays:
    """Return the utterances of a file end to end.

    After the header a line is an utterance: coefficients separated by colons, the speaker last; of a
    coefficient the values in all frames, separated by commas.
    """
    lines = text.decode("utf-8").split("@data", 1)[1].split("\n")
    frames, speakers = [], []
    for line in filter(None, map(str.strip, lines)):
        *coefficients, speaker = line.split(":")
        frames.append(np.array([c.split(",") for c in coefficients], "float32").T)
        speakers.append(int(speaker) - 1)
    return {
        f"{part}_frames": np.concatenate(frames),
        f"{part}_ends": np.cumsum([len(utterance) for utterance in frames]),
        f"{part}_speakers": np.array(speakers),
    }


def _utterances(stored: Arrays, part: str) -> tuple[np.ndarray, np.ndarray]:
    pieces = np.split(stored[f"{part}_frames"], stored[f"{part}_ends"][:-1])
    utterances = np.empty(len(pieces), object)
    utterances[:] = pieces
    return utterances, stored[f"{part}_speakers"]
