"""Sentences, messages, books, and tables of the user's own: parsed, kept, refused where they are wrong."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tinyrnn.datasets import gutenberg, imdb, labelled_texts, python_docs, rotten_tomatoes, sms_spam


def rows(texts, source):
    return [f'"{text}",{label},{source}' for label, part in texts.items() for text in part]


SENTENCES = {
    0: [f"dull film no . {i}" for i in range(10)],
    1: [f"fine , fine film no . {i}" for i in range(15)],
}
REVIEWS = "\n".join(
    ["text,label,source", *rows({0: ["bad"], 1: ["good"]}, "imdb"), *rows(SENTENCES, "rotten_tomatoes"), ""]
).encode()
MESSAGES = "".join(
    [f'ham\tsee you at {i} "sharp\n' for i in range(8)]
    + [f"spam\tWIN £{i} now!\n" for i in range(5)]
    + ["ham\tok\n"] * 3
).encode()


# --- what is fetched --------------------------------------------------------------------------------------


def test_sentences_come_from_the_file_of_the_reviews(carried, monkeypatch):
    monkeypatch.setattr(imdb, "REVIEWS", carried(REVIEWS))
    (x, y), (x_test, y_test) = rotten_tomatoes.load_data()
    assert (np.bincount(y).tolist(), np.bincount(y_test).tolist(), y.dtype) == ([8, 12], [2, 3], np.int64)
    found = list(zip([*x, *x_test], [*y, *y_test], strict=True))
    assert sorted(found) == sorted((text, label) for label, texts in SENTENCES.items() for text in texts)
    assert y.tolist() != sorted(y), "the file is sorted by label, what is returned must not be"

    monkeypatch.setattr(subprocess, "run", None)
    again = rotten_tomatoes.load_data()
    assert (again[0][0], again[1][0]) == (x, x_test)


def test_messages(carried, monkeypatch):
    monkeypatch.setattr(sms_spam, "MESSAGES", carried(MESSAGES))
    (x, y), (x_test, y_test) = sms_spam.load_data()
    assert (len(x), len(x_test), y.sum(), y_test.sum()) == (13, 3, 4, 1)
    assert all(
        text.startswith("WIN £") == label for text, label in zip(x + x_test, [*y, *y_test], strict=True)
    )
    assert x.count("ok") == 3, "what occurs more than once is never held out"


def test_books(carried, monkeypatch, data_folder):
    text = "[Alice]\n\nCaf\xe9"
    file = carried(text.encode("latin-1"))
    monkeypatch.setattr(gutenberg, "_file", lambda book: file)
    assert gutenberg.load_data() == text
    monkeypatch.setattr(subprocess, "run", None)
    assert gutenberg.load_data("carroll-alice") == text
    assert [path.name for path in data_folder.iterdir()] == ["gutenberg-carroll-alice.npz"]


def test_every_book_has_its_own_file_and_checksum():
    files = [gutenberg._file(book) for book in gutenberg.BOOKS]
    assert len({file.name for file in files}) == len({file.sources[0].sha256 for file in files}) == 18
    assert files[7].sources[0].member.endswith("gutenberg/carroll-alice.txt")


def test_a_book_that_is_not_there():
    with pytest.raises(ValueError, match="there is no 'caroll-alice'; did you mean 'carroll-alice'"):
        gutenberg.load_data("caroll-alice")


@pytest.mark.parametrize("load", [rotten_tomatoes.load_data, sms_spam.load_data, gutenberg.load_data])
def test_without_a_network_the_error_says_what_to_put_where(load, data_folder):
    with pytest.raises(OSError, match="could not be fetched") as caught:
        load()
    assert f"save it as {data_folder}" in str(caught.value)


@pytest.mark.parametrize("load", [rotten_tomatoes.load_data, sms_spam.load_data, gutenberg.load_data])
def test_another_file_under_that_name_is_refused(load, data_folder):
    data_folder.mkdir()
    for file in (imdb.REVIEWS, sms_spam.MESSAGES, gutenberg._file("carroll-alice")):
        (data_folder / file.name).write_bytes(b"something else")
    with pytest.raises(ValueError, match="expected SHA-256"):
        load()


def test_python_docs_need_nothing(monkeypatch):
    text = python_docs.load_data()
    assert len(text) > 300_000
    assert 'The "assert" statement' in text
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    with pytest.raises(OSError, match="without its help texts"):
        python_docs.load_data()


# --- a file of the user's own -----------------------------------------------------------------------------


def lines(n=10):
    return "".join(f"{label}\tsentence {i} is {label}\n" for i in range(n) for label in ("pos", "neg"))


def table(n=10):
    body = "".join(f'{i},"sentence, no. {i}\nis {label}",{label}\n' for i in range(n) for label in "01")
    return "id,text,label\n" + body


def test_lines_and_tables(tmp_path):
    (tmp_path / "a.txt").write_text(lines() + "\n", encoding="utf-8")
    (tmp_path / "a.csv").write_text("\ufeff" + table(), encoding="utf-8")
    for name, names in (("a.txt", ["neg", "pos"]), ("a.csv", ["0", "1"])):
        (x, y), (x_test, y_test), found = labelled_texts.load_data(tmp_path / name, share=0.3)
        assert found == names
        assert (np.bincount(y).tolist(), np.bincount(y_test).tolist()) == ([7, 7], [3, 3])
        assert all(t.endswith(names[k]) for t, k in zip(x + x_test, [*y, *y_test], strict=True))
        assert len(set(x + x_test)) == 20


def test_windows_line_ends_are_no_part_of_a_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(lines().replace("\n", "\r\n").encode())
    (x, _), _, names = labelled_texts.load_data(tmp_path / "a.txt")
    assert names == ["neg", "pos"]
    assert not any("\r" in text for text in x)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            b"pos\tfine\nno label here\n",
            r"a\.txt, line 2: expected label<TAB>text, found 'no label here'",
        ),
        ("a.txt", b"\tno label\n", "line 1: expected label<TAB>text"),
        ("a.txt", b"pos\tcaf\xe9\n", "expected UTF-8, found byte 233 at 7"),
        ("a.txt", b"", "expected two labels or more, found none"),
        ("a.txt", b"pos\ta\npos\tb\n", "expected two labels or more, found 'pos'"),
        ("a.txt", b"pos\ta\nneg\tb\n", "2 different ones are too few to hold out 20% of them"),
        ("a.csv", b"sentence,label\na,1\n", "expected the columns text and label, found sentence, label"),
        ("a.csv", b"", "found nothing"),
        ("a.csv", b"text,label\na,1\nb\n", "line 3: expected a text and a label"),
        ("a.csv", b'text,label\n"a,1\n', "after line 1: unexpected end of data"),
    ],
)
def test_a_file_that_is_not_as_described(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        labelled_texts.load_data(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match=r"b\.txt"):
        labelled_texts.load_data(tmp_path / "b.txt")


# --- holding out ------------------------------------------------------------------------------------------


def test_split_is_always_the_same_and_keeps_repeated_texts_together():
    texts = [f"text {i % 40}" for i in range(60)]  # 0 ... 19 occur twice
    labels = np.arange(60) % 2
    first, again = labelled_texts.split(texts, labels), labelled_texts.split(texts, labels)
    (x, y), (x_test, y_test) = first
    assert (x, x_test) == (again[0][0], again[1][0])
    assert np.bincount(y_test).tolist() == [6, 6]
    assert not set(x) & set(x_test)
    assert Counter(x + x_test) == Counter(texts)
    for text, label in zip(x + x_test, [*y, *y_test], strict=True):
        assert int(text.split()[1]) % 2 == label
    assert labelled_texts.split(texts, labels, seed=1)[1][0] != x_test


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_share_must_be_a_share(share):
    with pytest.raises(ValueError, match="share: expected a number between 0 and 1"):
        labelled_texts.split(["a", "b"], np.array([0, 1]), share)
