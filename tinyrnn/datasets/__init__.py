"""Real data, fetched when it is first asked for, checked and kept in a folder of the user's.

The folder is the user's cache folder for tinyrnn, or what the environment variable ``TINYRNN_DATA`` names.
"""

from tinyrnn.datasets import (
    cmudict,
    electricity,
    gutenberg,
    imdb,
    labelled_texts,
    python_docs,
    rotten_tomatoes,
    sms_spam,
    spoken_vowels,
    treebank,
)

__all__ = [
    "cmudict",
    "electricity",
    "gutenberg",
    "imdb",
    "labelled_texts",
    "python_docs",
    "rotten_tomatoes",
    "sms_spam",
    "spoken_vowels",
    "treebank",
]
