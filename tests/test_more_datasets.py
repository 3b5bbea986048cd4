"""Treebanks, electricity, spoken vowels, the pronouncing dictionary: from small files of the same form."""

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from tinyrnn.datasets import cmudict, electricity, spoken_vowels, treebank

# --- what all have in common ------------------------------------------------------------------------------

READINGS = "ts,y\n2012-01-01 00:00:00,1300.5\n2012-01-01 01:00:00,1404.25\n2012-01-01 02:00:00,7\n"
DICTIONARY = """\
'cause K AH0 Z
a AH0
a(2) EY1
aalborg AO1 L B AO0 R G # place, danish
aalborg(2) AA1 L B AO0 R G
record R AH0 K AO1 R D
record(2) R EH1 K ER0 D
record(3) R IH0 K AO1 R D
use Y UW1 S
use(2) Y UW0 S
"""
VOWELS = """\
#Comments with: colons, commas
@problemName JapaneseVowels
@classLabel true 1 2 3 4 5 6 7 8 9
@data
1.5,1.25,-1:0.5,2,3e-1:9
0.0,1.0:0.125,0.25:1
"""
WEB = """\
# sent_id = 1
# text = Buy now.
1\tBuy\tbuy\tVERB\tVB\t_\t0\troot\t_\t_
2\tnow\tnow\tADV\tRB\t_\t1\tadvmod\t_\tSpaceAfter=No
3\t.\t.\tPUNCT\t.\t_\t1\tpunct\t_\t_

1\tMad Max\tx\tNOUN\tNNP\t_\t0\troot\t_\t_"""
WIKI = """\

1-2\tdel\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\tde\tADP\tIN\t_\t3\tcase\t_\t_
2\tel\tel\tDET\tDT\t_\t3\tdet\t_\t_
3\tmar\tmar\tNOUN\tNN\t_\t0\troot\t_\t_
3.1\tsea\t_\tX\tX\t_\t_\t_\t_\t_


1\töyle\töyle\tADV\tRB\t_\t0\troot\t_\t_

"""
TAGGED = [
    (["Buy", "now", "."], ["VERB", "ADV", "PUNCT"], ["VB", "RB", "."]),
    (["Mad Max"], ["NOUN"], ["NNP"]),
    (["de", "el", "mar"], ["ADP", "DET", "NOUN"], ["IN", "DT", "NN"]),
    (["öyle"], ["ADV"], ["RB"]),
]


@pytest.fixture
def small(at_hand, monkeypatch):
    """Small files where the loaders look for theirs."""
    monkeypatch.setattr(electricity, "READINGS", at_hand(READINGS.encode(), "hourly_electricity.csv"))
    monkeypatch.setattr(cmudict, "DICTIONARY", at_hand(DICTIONARY.encode(), "cmudict.dict"))
    for part in ("TRAIN", "TEST"):
        text = VOWELS if part == "TRAIN" else VOWELS.replace("1.5", "2.5")
        monkeypatch.setattr(spoken_vowels, part, at_hand(text.encode(), f"JapaneseVowels_{part}.ts"))
    turkish = (at_hand(WEB.encode(), "web.conllu"), at_hand(WIKI.encode(), "wiki.conllu"))
    monkeypatch.setattr(treebank, "TURKISH", turkish)


LOADERS = {
    "electricity.npz": electricity.load_data,
    "cmudict.npz": cmudict.load_data,
    "spoken_vowels.npz": spoken_vowels.load_data,
    "treebank_upos.npz": lambda: treebank.load_data(test_split=0.5),
}


@pytest.mark.parametrize("kept", LOADERS)
def test_second_call_reads_what_the_first_has_kept(small, data_folder, kept):
    first = LOADERS[kept]()
    for path in list(data_folder.iterdir()):
        if path.name != kept:
            path.unlink()
    second = LOADERS[kept]()
    assert repr(second) == repr(first)
    assert [path.name for path in data_folder.iterdir()] == [kept]


@pytest.mark.parametrize("kept", LOADERS)
def test_file_that_was_tampered_with_is_refused_and_not_kept(small, data_folder, kept):
    raw = [path for path in data_folder.iterdir() if path.suffix != ".npz"]
    for path in raw:
        path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ValueError, match="expected SHA-256"):
        LOADERS[kept]()
    assert sorted(data_folder.iterdir()) == sorted(raw)


@pytest.mark.parametrize("kept", LOADERS)
def test_without_a_network_the_error_names_the_file(data_folder, kept):
    """The loaders as they are, real sources and all, with a pip that reaches nothing."""
    with pytest.raises(OSError, match=r"No matching distribution(.|\n)*save it as .*data.(\w+\.\w+)$"):
        LOADERS[kept]()
    assert not data_folder.exists()


def test_a_carrier_is_enough(carried, monkeypatch, data_folder):
    monkeypatch.setattr(cmudict, "DICTIONARY", carried(DICTIONARY.encode(), "cmudict.dict"))
    assert cmudict.load_data("mine.npz")["a"] == [("AH0",), ("EY1",)]
    monkeypatch.setattr(subprocess, "run", None)
    assert len(cmudict.load_data("mine.npz")) == 5
    assert [path.name for path in data_folder.iterdir()] == ["mine.npz"]


# --- one by one -------------------------------------------------------------------------------------------


def test_electricity(small):
    hours, kilowatts = electricity.load_data()
    assert (hours.dtype, kilowatts.dtype) == (np.dtype("datetime64[h]"), np.float64)
    assert hours.astype(str).tolist() == ["2012-01-01T00", "2012-01-01T01", "2012-01-01T02"]
    assert kilowatts.tolist() == [1300.5, 1404.25, 7]


def test_spoken_vowels(small):
    (x_train, y_train), (x_test, y_test) = spoken_vowels.load_data()
    assert (x_train.dtype, x_train[0].dtype, y_train.dtype) == (object, np.float32, np.int64)
    assert y_train.tolist() == y_test.tolist() == [8, 0]
    np.testing.assert_array_equal(x_train[0], np.float32([[1.5, 0.5], [1.25, 2], [-1, 0.3]]))
    np.testing.assert_array_equal(x_train[1], [[0, 0.125], [1, 0.25]])
    assert x_test[0][0, 0] == 2.5


def test_dictionary_keeps_several_pronunciations_and_no_comments(small):
    found = cmudict.load_data()
    assert list(found) == ["'cause", "a", "aalborg", "record", "use"]
    assert found["a"] == [("AH0",), ("EY1",)]
    assert [" ".join(p) for p in found["aalborg"]] == ["AO1 L B AO0 R G", "AA1 L B AO0 R G"]
    assert found["use"] == [("Y", "UW1", "S"), ("Y", "UW0", "S")]


def test_dictionary_without_stress_has_every_pronunciation_once(small):
    found = cmudict.load_data(stress=False)
    assert found["use"] == [("Y", "UW", "S")]
    assert [" ".join(p) for p in found["record"]] == ["R AH K AO R D", "R EH K ER D", "R IH K AO R D"]


# --- treebanks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tags", ["upos", "xpos"])
def test_treebank_is_split_by_sentences(small, tags):
    expected = {tuple(words): labels[tags == "xpos"] for words, *labels in TAGGED}
    (x_train, y_train), (x_test, y_test) = treebank.load_data(tags=tags, test_split=0.25)
    assert (len(x_train), len(x_test)) == (3, 1)
    found = zip(x_train + x_test, y_train + y_test, strict=True)
    assert {tuple(words): labels for words, labels in found} == expected
    same = treebank.load_data(tags=tags, test_split=0.25)
    assert same[1] == (x_test, y_test)
    others = [treebank.load_data(tags=tags, test_split=0.25, seed=seed)[1][0] for seed in range(8)]
    assert any(words != x_test for words in others)


def test_conllu_file_of_the_users_own(tmp_path):
    path = tmp_path / "mine.conllu"
    path.write_bytes((WEB + "\n\n" + WIKI).replace("\n", "\r\n").encode())
    words, tags = treebank.read_conllu(path)
    assert list(zip(words, tags, strict=True)) == [(w, upos) for w, upos, _ in TAGGED]
    (x_train, _), (x_test, _) = treebank.load_data(path, test_split=0.5)
    assert sorted(x_train + x_test) == sorted(words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\ta\ta\tNOUN\n", "line 1: expected 10 columns separated by tabs, found 4"),
        (WEB.replace("ADV", "_"), "line 4: 'now' has no tag in the column upos"),
        ("# nothing\n\n", "there are no sentences"),
        ("caf\xe9".encode("latin-1"), "is not in the format CoNLL-U, which is UTF-8"),
    ],
)
def test_file_in_another_format_says_where_and_why(tmp_path, text, message):
    path = tmp_path / "bad.conllu"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=rf"bad\.conllu.*{message}"):
        treebank.read_conllu(path)


def test_treebank_refuses_what_makes_no_sense(small, tmp_path):
    for call in (treebank.load_data, lambda tags: treebank.read_conllu(tmp_path, tags)):
        with pytest.raises(ValueError, match="tags: unknown column 'upso'; did you mean 'upos'"):
            call(tags="upso")
    with pytest.raises(ValueError, match=r"test_split: 0\.1 of 4 sentences leaves one part without any"):
        treebank.load_data(test_split=0.1)
    with pytest.raises(FileNotFoundError, match=r"gone\.conllu"):
        treebank.load_data(tmp_path / "gone.conllu")


def fake_nltk(monkeypatch, sentences):
    """A package of NLTK's shape; its corpora are read when they are first asked for."""

    class Corpus:
        def tagged_sents(self):
            if sentences is None:
                raise LookupError("Resource treebank not found.")
            return sentences

    corpus = ModuleType("nltk.corpus")
    corpus.treebank = Corpus()
    monkeypatch.setitem(sys.modules, "nltk", ModuleType("nltk"))
    monkeypatch.setitem(sys.modules, "nltk.corpus", corpus)


def test_nltk_sample_without_traces(monkeypatch):
    fake_nltk(monkeypatch, [[("Buy", "VB"), ("*", "-NONE-"), (".", ".")], [("*", "-NONE-")], [("Now", "RB")]])
    (x_train, y_train), (x_test, y_test) = treebank.load_data("nltk", test_split=0.5)
    assert sorted(x_train + x_test) == [["Buy", "."], ["Now"]]
    assert sorted(y_train + y_test) == [["RB"], ["VB", "."]]


def test_nltk_that_is_missing_or_has_no_data(monkeypatch):
    fake_nltk(monkeypatch, None)
    with pytest.raises(OSError, match=r'nltk\.download\("treebank"\)'):
        treebank.load_data("nltk")
    monkeypatch.setitem(sys.modules, "nltk.corpus", None)
    with pytest.raises(ImportError, match="pip install nltk"):
        treebank.load_data("nltk")
