"""Padding against Keras; words and ids against Keras 2's Tokenizer (which Keras 3 keeps for tf.keras)."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras._tf_keras.keras.preprocessing import text as keras_text

from tinyrnn.preprocessing.sequence import pad_sequences
from tinyrnn.preprocessing.text import FILTERS, Tokenizer, text_to_word_sequence

SIDES = st.sampled_from(["pre", "post"])


@given(
    sequences=st.lists(st.lists(st.integers(-50, 50), max_size=7), min_size=1, max_size=6),
    maxlen=st.none() | st.integers(1, 9),
    dtype=st.sampled_from(["int32", "int64", "float32", "float64"]),
    padding=SIDES,
    truncating=SIDES,
    value=st.sampled_from([0.0, -1, 7.5]),
)
def test_pad_sequences_equals_keras(**settings):
    ours, theirs = pad_sequences(**settings), keras.utils.pad_sequences(**settings)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == theirs.dtype


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4), padding=SIDES, truncating=SIDES)
def test_pad_sequences_of_vectors_equals_keras(lengths, padding, truncating):
    sequences = [np.arange(6.0 * n).reshape(n, 3, 2) + 10 * n for n in lengths]
    settings = {"maxlen": 3, "dtype": "float64", "padding": padding, "truncating": truncating, "value": -1.0}
    np.testing.assert_array_equal(
        pad_sequences(sequences, **settings), keras.utils.pad_sequences(sequences, **settings)
    )


@pytest.mark.parametrize("dtype", [object, "<U3", str])
def test_pad_sequences_of_strings_equals_keras(dtype):
    sequences = [["film"], ["a", "very", "long", "story"]]
    ours = pad_sequences(sequences, maxlen=2, dtype=dtype, value="PAD", padding="post")
    theirs = keras.utils.pad_sequences(sequences, maxlen=2, dtype=dtype, value="PAD", padding="post")
    assert ours.tolist() == theirs.tolist()
    assert ours.dtype == theirs.dtype


def test_pad_sequences_by_default_pads_and_cuts_in_front():
    padded = pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2)
    assert padded.tolist() == [[0, 1], [2, 3], [5, 6]]
    assert padded.dtype == np.int32


def test_pad_sequences_of_nothing():
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([[], []]).shape == (2, 0)
    assert pad_sequences([[1, 2], [3]], maxlen=0).shape == (2, 0)
    assert pad_sequences([[], []], maxlen=2, value=9).tolist() == [[9, 9], [9, 9]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequences": [[1]], "padding": "poste"}, "padding: .*'poste'; did you mean 'post'"),
        ({"sequences": [[]], "truncating": None}, "truncating: expected 'pre' or 'post', found None"),
        ({"sequences": 3}, "sequences: expected a list of sequences, found int"),
        ({"sequences": [[1], 2]}, "sequences: expected sequences in the list, found 2 at position 1"),
        ({"sequences": [[1], [[2]]]}, r"sequences: expected steps of shape \(\), found \(1,\) at position 1"),
        ({"sequences": [[1]], "maxlen": -1}, "maxlen: expected 0 or more, found -1"),
        ({"sequences": [[1]], "value": "PAD"}, "value: 'PAD' does not fit dtype int32; dtype=object"),
    ],
)
def test_pad_sequences_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        pad_sequences(**arguments)


# --- words ----------------------------------------------------------------------------------------------


def test_text_to_word_sequence():
    text = "It's the end (of the\tWORLD),\nas we know-it!"
    words = ["it's", "the", "end", "of", "the", "world", "as", "we", "know", "it"]
    assert text_to_word_sequence(text) == words
    assert text_to_word_sequence("A b.C", lower=False) == ["A", "b", "C"]
    assert text_to_word_sequence("a,b c;d", filters=";", split=",") == ["a", "b c", "d"]
    assert text_to_word_sequence(" .!? ") == []


texts = st.lists(
    st.lists(
        st.sampled_from(["the", "The", "film", "was,", "good!", "BAD", "it's", "", "a-b"]), max_size=8
    ).map(" ".join),
    max_size=5,
)


@given(
    text=st.text(alphabet="aBcÄß' " + FILTERS, max_size=40),
    lower=st.booleans(),
    split=st.sampled_from([" ", "c"]),
)
def test_text_to_word_sequence_equals_keras(text, lower, split):
    ours = text_to_word_sequence(text, lower=lower, split=split)
    assert ours == keras_text.text_to_word_sequence(text, lower=lower, split=split)


@given(
    seen=texts,
    unseen=texts,
    num_words=st.none() | st.integers(1, 8),
    lower=st.booleans(),
    char_level=st.booleans(),
    oov_token=st.sampled_from([None, "<unk>"]),
    as_words=st.booleans(),
)
def test_tokenizer_equals_keras(seen, unseen, as_words, **settings):
    ours, theirs = Tokenizer(**settings), keras_text.Tokenizer(**settings)
    if as_words:
        seen = [text.split() for text in seen]
    for part in (seen, seen[:2]):  # counts add up
        ours.fit_on_texts(part)
        theirs.fit_on_texts(part)
    assert list(ours.word_index.items()) == list(theirs.word_index.items())
    assert ours.index_word == theirs.index_word
    assert list(ours.word_counts.items()) == list(theirs.word_counts.items())
    assert ours.word_docs == theirs.word_docs
    assert ours.document_count == theirs.document_count
    ids = ours.texts_to_sequences(seen + unseen)
    assert ids == theirs.texts_to_sequences(seen + unseen)
    assert ours.sequences_to_texts([*ids, [0, 1, 5, 99]]) == theirs.sequences_to_texts([*ids, [0, 1, 5, 99]])


@pytest.mark.parametrize("mode", ["binary", "count", "freq", "tfidf"])
@pytest.mark.parametrize("num_words", [None, 4])
def test_matrix_equals_keras(mode, num_words):
    seen, unseen = ["a a b c", "a b d", "e a"], ["a a b e", "", "f", "d c b a a a"]
    ours, theirs = Tokenizer(num_words, oov_token="?"), keras_text.Tokenizer(num_words, oov_token="?")
    ours.fit_on_texts(seen)
    theirs.fit_on_texts(seen)
    matrix = ours.texts_to_matrix(unseen, mode=mode)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, theirs.texts_to_matrix(unseen, mode=mode), rtol=1e-6)


def test_ids_by_frequency_then_by_first_appearance():
    tokenizer = Tokenizer(num_words=4)
    tokenizer.fit_on_texts(["b a. A", "c B a", "d"])
    assert tokenizer.word_index == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert dict(tokenizer.word_counts) == {"b": 2, "a": 3, "c": 1, "d": 1}
    assert tokenizer.texts_to_sequences(["d c b a z"]) == [[3, 2, 1]]
    assert tokenizer.sequences_to_texts([[3, 0, 4, 1]]) == ["c a"]


def test_oov_token_that_occurs_in_the_texts_has_one_id():
    tokenizer = Tokenizer(oov_token="unk")
    tokenizer.fit_on_texts(["a unk a"])
    assert tokenizer.word_index == {"unk": 1, "a": 2}
    assert tokenizer.texts_to_sequences(["a unk z"]) == [[2, 1, 1]]


def test_one_string_is_not_a_list_of_texts():
    tokenizer = Tokenizer()
    for method in (tokenizer.fit_on_texts, tokenizer.texts_to_sequences):
        with pytest.raises(TypeError, match="texts: expected a list of texts, found one string"):
            method("a film")


def test_matrix_errors():
    tokenizer = Tokenizer()
    with pytest.raises(ValueError, match="call fit_on_texts first"):
        tokenizer.texts_to_matrix(["a"])
    with pytest.raises(ValueError, match="call fit_on_texts first"):
        Tokenizer(num_words=3).sequences_to_matrix([[1]], mode="tfidf")
    with pytest.raises(ValueError, match="mode: unknown 'counts'; did you mean 'count'"):
        tokenizer.sequences_to_matrix([[1]], mode="counts")
    assert Tokenizer(num_words=3).sequences_to_matrix([[1, 5, 1]], mode="count").tolist() == [[0, 2, 0]]
