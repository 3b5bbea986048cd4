"""From the probabilities a model predicts to symbols, and to sequences of them.

A sequence is decoded step by step: a function ``step(symbols, states)`` takes the last symbol of each row,
``(rows,)``, and the states after the symbols before it, a nest of arrays whose first axis is the rows. It
returns the probabilities of the next symbol, ``(rows, symbols)``, and the new states. Of a decoder it is one
step of its recurrent layers (`step_of`), and the states to begin with are the encoder's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyrnn.backend import new_generator, to_host
from tinyrnn.nest import leaves, map_leaves

__all__ = ["beam_search", "greedy_search", "sample", "step_of"]

Step = Callable[[np.ndarray, Any], tuple[Any, Any]]


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
    p = to_host(probabilities).astype(np.float64)
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


def step_of(decoder: Any) -> Step:
    """Return one step of a decoder as the searches call it.

    Parameters
    ----------
    decoder : Model
        ``[symbol (B, 1), *states] -> [probabilities (B, 1, symbols), *states]``: the layers of a decoder that
        was trained on whole sequences, with their states, ``(B, ...)`` each, as inputs and outputs.

    Examples
    --------
    >>> embed, decode, choose = Embedding(50, 32), LSTM(64, return_sequences=True, return_state=True), ...
    >>> symbol, h, c = Input((1,), dtype="int32"), Input((64,)), Input((64,))
    >>> y, *states = decode(embed(symbol), initial_state=[h, c])
    >>> step = step_of(Model([symbol, h, c], [choose(y), *states]))
    >>> greedy_search(step, encoder.predict_on_batch(x), start=1, end=2, maxlen=20)
    """

    def step(symbols: np.ndarray, states: Any) -> tuple[Any, Any]:
        probabilities, *states = decoder.predict_on_batch([symbols[:, None], *states])
        return probabilities[:, 0], states

    return step


def greedy_search(step: Step, states: Any, start: int, end: int, maxlen: int) -> list[list[int]]:
    """Choose the most probable symbol, again and again.

    Parameters
    ----------
    step : callable
        ``step(symbols, states) -> probabilities, states``, see `tinyrnn.decoding`.
    states : nest of arrays
        To begin with.
    start, end : int
        The symbol before the first, and the one that ends a sequence.
    maxlen : int
        Symbols at most; a sequence without an end is cut there.

    Returns
    -------
    list of lists of int
        The symbols of each row, without start and end.

    Raises
    ------
    ValueError
        As `beam_search`.
    """
    return [candidates[0][0] for candidates in beam_search(step, states, start, end, maxlen, width=1)]


def beam_search(
    step: Step, states: Any, start: int, end: int, maxlen: int, width: int = 4, length_penalty: float = 0.0
) -> list[list[tuple[list[int], float]]]:
    """Follow the most probable sequences, `width` of them at a time.

    Parameters
    ----------
    step, states, start, end, maxlen
        As in `greedy_search`, which is the search of width 1.
    width : int
        How many beginnings of each row are kept after each symbol.
    length_penalty : float
        Sequences are ranked by ``log(probability) / length ** length_penalty``; the end counts in the
        length. At 0 by the probability, which falls with every symbol; more favours the long ones.

    Returns
    -------
    list of lists of (list of int, float)
        For each row up to `width` sequences, without start and end, the best first, each with what it is
        ranked by. One that reached no end within `maxlen` symbols counts as it is.

    Raises
    ------
    ValueError
        For `maxlen` or `width` below 1, states without rows, or a step that returns something else than
        probabilities for each row.
    """
    for name, value in (("maxlen", maxlen), ("width", width)):
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, found {value}")
    rows = next((len(s) for s in leaves(states)), 0)
    if not rows:
        raise ValueError("states: expected arrays with a row for each sequence, found none")
    states = map_leaves(lambda s: np.repeat(to_host(s), width, axis=0), states)
    sequences = np.full((rows, width, 1), start)
    scores = np.full((rows, width), -np.inf)  # log probabilities, falling
    scores[:, 0] = 0.0  # all beginnings are one
    open_ = np.ones((rows, width), bool)
    lengths = np.zeros((rows, width), int)
    for _ in range(maxlen):
        p, states = step(sequences[:, :, -1].ravel(), states)
        sequences, scores, parents = _extend(sequences, scores, open_, to_host(p), end)
        lengths = np.take_along_axis(lengths + open_, parents, axis=1)
        open_ = sequences[:, :, -1] != end  # what has ended goes on ending
        if not open_[np.isfinite(scores)].any():
            break
        chosen = (np.arange(rows)[:, None] * width + parents).ravel()
        states = map_leaves(lambda s, chosen=chosen: to_host(s)[chosen], states)
    ranked = scores / np.maximum(lengths, 1) ** length_penalty
    return [_candidates(*row, end) for row in zip(sequences[:, :, 1:], ranked, strict=True)]


def _extend(
    sequences: np.ndarray, scores: np.ndarray, open_: np.ndarray, p: np.ndarray, end: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best continuations by one symbol, their scores, and which beginning each continues."""
    rows, width, _ = sequences.shape
    if p.ndim != 2 or len(p) != rows * width or p.shape[1] <= end:
        raise ValueError(
            f"step: expected probabilities of shape ({rows * width}, symbols), of more than {end} symbols "
            f"(the end), found shape {p.shape}"
        )
    if not (p >= 0).all():
        raise ValueError(f"step: expected probabilities, found {p[~(p >= 0)][0]}")
    with np.errstate(divide="ignore"):  # log 0: never chosen
        gain = np.log(p.astype(np.float64)).reshape(rows, width, -1)
    symbols = gain.shape[-1]
    closed = np.full(symbols, -np.inf)
    closed[end] = 0.0
    total = (scores[:, :, None] + np.where(open_[:, :, None], gain, closed)).reshape(rows, -1)
    best = np.argsort(-total, axis=1, kind="stable")[:, :width]
    parents, chosen = np.divmod(best, symbols)
    kept = np.take_along_axis(sequences, parents[:, :, None], axis=1)
    longer = np.concatenate([kept, chosen[:, :, None]], axis=2)
    return longer, np.take_along_axis(total, best, axis=1), parents


def _candidates(sequences: np.ndarray, scores: np.ndarray, end: int) -> list[tuple[list[int], float]]:
    """Return the sequences of one row up to their ends, the best first."""
    found = []
    for i in np.argsort(-scores, kind="stable"):
        if np.isfinite(scores[i]):
            symbols = sequences[i].tolist()
            found.append((symbols[: symbols.index(end)] if end in symbols else symbols, float(scores[i])))
    return found
