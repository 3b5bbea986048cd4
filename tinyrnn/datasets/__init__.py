"""Real data, fetched when it is first asked for, checked and kept in a folder of the user's.

The folder is the user's cache folder for tinyrnn, or what the environment variable ``TINYRNN_DATA`` names.
"""

from tinyrnn.datasets import cmudict, electricity, imdb, spoken_vowels, treebank

__all__ = ["cmudict", "electricity", "imdb", "spoken_vowels", "treebank"]
