"""From the probabilities a model predicts to symbols."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrnn.backend import new_generator

__all__ = ["sample"]


def sample(probabilities: Any, temperature: float = 1.0, seed: int | None = None) -> np.ndarray:
    """Draw a class from each distribution, made sharper or flatter by a temperature.

    Class ``k`` is drawn with a probability proportional to ``p_k ** (1 / temperature)``, which is what
    dividing the inputs of a softmax by the temperature does. At 1 the model is taken at its word; towards 0
    the most probable class takes all (at 0 it is chosen, and chance has no part); above 1 what is rare
    becomes likelier.

    Parameters
    ----------
    probabilities : array-like of shape (..., classes)
        What a softmax returns.
    temperature : float
    seed : int, optional
        From the default generator (see `set_random_seed`) if None.

    Returns
    -------
    int64 array of shape (...)

    Raises
    ------
    ValueError
        If the temperature is negative, or something is no distribution: negative, not finite, or with a sum
        further from 1 than rounding explains.

    Examples
    --------
    >>> sample([[0.1, 0.9], [1.0, 0.0]], temperature=0)
    array([1, 0])
    """
    p = np.asarray(probabilities, np.float64)
    if not temperature >= 0:
        raise ValueError(f"temperature: expected 0 or more, found {temperature}")
    if p.ndim < 1 or not p.shape[-1]:
        raise ValueError(f"probabilities: expected shape (..., classes), found {p.shape}")
    wrong = ~((p >= 0).all(axis=-1) & (np.abs(p.sum(axis=-1) - 1) < 1e-3))
    if wrong.any():
        first = p[wrong].reshape(-1, p.shape[-1])[0]
        raise ValueError(
            f"probabilities: expected numbers from 0 that add up to 1, found the sum {first.sum()}"
        )
    if temperature == 0:
        return p.argmax(axis=-1)
    # The Gumbel trick: the class with the greatest log p / T + noise is distributed as p ** (1 / T).
    noise = new_generator(seed).gumbel(size=p.shape)
    with np.errstate(divide="ignore"):  # log 0: never drawn
        return (np.log(p) + temperature * noise).argmax(axis=-1)
