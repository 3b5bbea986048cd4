"""Drawing symbols from probabilities, and searching for sequences of them."""

import itertools

import numpy as np
import pytest

import tinyrnn
from tinyrnn.decoding import beam_search, greedy_search, sample, step_of
from tinyrnn.layers import LSTM, Dense, Embedding, Input

P = np.array([0.5, 0.3, 0.2, 0.0])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_classes_are_drawn_as_the_temperature_says(temperature):
    draws = sample(np.tile(P, (40_000, 1)), temperature, seed=1)
    expected = P ** (1 / temperature) / (P ** (1 / temperature)).sum()
    found = np.bincount(draws, minlength=4) / len(draws)
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / len(draws)))
    assert found[3] == 0


def test_temperature_is_that_of_a_softmax():
    """p ** (1 / T) is the softmax of logits / T; the draws depend on that alone."""
    logits = np.random.default_rng(0).standard_normal((500, 6))

    def softmax(x):
        e = np.exp(x)
        return e / e.sum(axis=-1, keepdims=True)

    np.testing.assert_array_equal(
        sample(softmax(logits), 0.7, seed=3), sample(softmax(logits / 0.7), 1.0, seed=3)
    )


def test_temperature_zero_is_the_most_probable_class():
    assert sample([[0.2, 0.5, 0.3], [1, 0, 0]], temperature=0).tolist() == [1, 0]
    assert sample(np.array([0.4, 0.6], "float32"), temperature=1e-9) == 1


def test_shapes_and_seeds():
    p = np.full((2, 3, 7), 1 / 7, "float32")
    draws = sample(p)
    assert (draws.shape, draws.dtype) == ((2, 3), np.int64)
    assert sample(p[0, 0]).shape == ()
    tinyrnn.set_random_seed(5)
    first, second = sample(p), sample(p)
    tinyrnn.set_random_seed(5)
    np.testing.assert_array_equal(sample(p), first)
    assert first.tolist() != second.tolist()
    np.testing.assert_array_equal(sample(p, seed=1), sample(p, seed=1))


@pytest.mark.parametrize(
    ("probabilities", "temperature", "message"),
    [
        (P, -1, "temperature: expected 0 or more, found -1"),
        (P, float("nan"), "temperature: expected 0 or more, found nan"),
        ([[0.5, 0.5], [0.5, 1.5]], 1, "add up to 1, found the sum 2.0"),
        ([1.5, -0.5], 1, "expected numbers from 0"),
        ([float("nan"), 1], 0, "found the sum nan"),
        (0.5, 1, r"expected shape \(\.\.\., classes\), found \(\)"),
        ([], 1, r"found \(0,\)"),
    ],
)
def test_what_is_no_distribution(probabilities, temperature, message):
    with pytest.raises(ValueError, match=message):
        sample(probabilities, temperature)


# --- sequences --------------------------------------------------------------------------------------------

START, END, SYMBOLS, MAXLEN = 3, 0, 4, 4


def chances(history):
    """Return a distribution of the next symbol that every symbol before it changes."""
    return np.random.default_rng([int(s) for s in history]).dirichlet(np.full(SYMBOLS, 2.0))


def step(symbols, states):
    """A model whose state is all it has read: it only works if states go with their sequences."""
    history = np.concatenate([states["read"], symbols[:, None]], axis=1)
    return np.array([chances(row) for row in history]), {"read": history}


def all_sequences(row):
    """Return every sequence that can be decoded, with its log probability, the most probable first."""
    found = []
    for n in range(MAXLEN + 1):
        for body in itertools.product([s for s in range(SYMBOLS) if s != END], repeat=n):
            symbols = [*body, END][:MAXLEN]
            history, score = [row, START], 0.0
            for s in symbols:
                score += np.log(chances(history)[s])
                history.append(s)
            found.append((list(body), score, len(symbols)))
    return sorted(found, key=lambda f: -f[1])


def states_of(rows):
    return {"read": np.arange(rows)[:, None]}


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_of_all_sequences_finds_the_best(penalty):
    found = beam_search(step, states_of(3), START, END, MAXLEN, width=200, length_penalty=penalty)
    for row, candidates in enumerate(found):
        expected = [(body, score / n**penalty) for body, score, n in all_sequences(row)]
        expected.sort(key=lambda e: -e[1])
        assert [body for body, _ in candidates] == [body for body, _ in expected]
        np.testing.assert_allclose([s for _, s in candidates], [s for _, s in expected], rtol=1e-9)


def test_narrow_beams_are_no_better_than_wide_ones_and_know_their_scores():
    rows = 8
    scores = [{tuple(body): score for body, score, _ in all_sequences(row)} for row in range(rows)]
    best = []
    for width in (1, 3, 200):
        found = beam_search(step, states_of(rows), START, END, MAXLEN, width=width)
        for row, candidates in enumerate(found):
            assert len(candidates) <= width
            assert sorted((s for _, s in candidates), reverse=True) == [s for _, s in candidates]
            for body, score in candidates:
                assert scores[row][tuple(body)] == pytest.approx(score)
        best.append([candidates[0][1] for candidates in found])
    greedy, narrow, full = np.array(best)
    assert (greedy <= full).all()
    assert (narrow <= full).all()
    assert greedy.mean() < narrow.mean()  # greed does not pay everywhere


def test_greedy_search_takes_the_most_probable_symbol():
    for row, found in enumerate(greedy_search(step, states_of(5), START, END, MAXLEN)):
        expected = []
        while len(expected) < MAXLEN and (not expected or expected[-1] != END):
            expected.append(int(chances([row, START, *expected]).argmax()))
        assert found == [s for s in expected if s != END]


def test_search_says_what_it_cannot_use():
    with pytest.raises(ValueError, match="width: expected 1 or more, found 0"):
        beam_search(step, states_of(1), START, END, MAXLEN, width=0)
    with pytest.raises(ValueError, match="maxlen: expected 1 or more, found 0"):
        greedy_search(step, states_of(1), START, END, 0)
    with pytest.raises(ValueError, match="states: expected arrays with a row for each sequence"):
        greedy_search(step, states_of(0), START, END, MAXLEN)
    with pytest.raises(
        ValueError, match=r"step: expected probabilities of shape \(2, symbols\).*\(2, 1, 4\)"
    ):
        greedy_search(lambda s, st: (np.ones((2, 1, 4)), st), states_of(2), START, END, MAXLEN)
    for wrong in (np.nan, -0.5):
        with pytest.raises(ValueError, match=f"step: expected probabilities, found {wrong}"):
            greedy_search(lambda s, st, p=wrong: (np.full((1, 4), p), st), states_of(1), START, END, MAXLEN)


def test_a_decoder_step_by_step_is_the_decoder_with_all_steps_at_once():
    """The encoder's states go in, the same layers run one symbol at a time: the same probabilities."""
    source, target = Input((None,), dtype="int32"), Input((None,), dtype="int32")
    embed, decode, choose = (
        Embedding(6, 4),
        LSTM(5, return_sequences=True, return_state=True),
        Dense(6, "softmax"),
    )
    encoded = LSTM(5, return_state=True)(Embedding(6, 4, mask_zero=True)(source))[1:]
    whole = tinyrnn.Model([source, target], choose(decode(embed(target), initial_state=encoded)[0]))
    encoder = tinyrnn.Model(source, encoded)
    symbol, h, c = Input((1,), dtype="int32"), Input((5,)), Input((5,))
    y, *states = decode(embed(symbol), initial_state=[h, c])
    decoder = tinyrnn.Model([symbol, h, c], [choose(y), *states])

    step = step_of(decoder)
    x = np.random.default_rng(0).integers(1, 6, (7, 4))
    x[2:4, 3:] = 0
    for candidates, row in zip(beam_search(step, encoder.predict_on_batch(x), 1, 0, 8), x, strict=True):
        for body, score in candidates:
            symbols = [*body, 0][:8]
            p = whole.predict_on_batch([row[None], np.array([[1, *symbols[:-1]]])])[0]
            expected = np.log(p[np.arange(len(symbols)), symbols]).sum()
            assert score == pytest.approx(expected, rel=1e-5)
