"""Every example runs, in a small setting of the same code, on data made here: no network, no waiting.

The examples lie on the path (see setup.cfg): a test imports one and calls its `main` with what a user types.
"""

from pathlib import Path

import common
import numpy as np
import pytest

import tinyrnn

# --- what the examples share ------------------------------------------------------------------------------


def test_options_are_typed_and_quick_changes_their_defaults(tmp_path):
    def chosen(*arguments):
        more = {"length": (100, "words, 5% of them"), "rate": 0.5, "ask": False, "corpus": (Path, "a file")}
        return common.options("Doc.", list(arguments), epochs=10, quick={"epochs": 1, "length": 20}, **more)

    usual, quick = chosen(), chosen("--quick")
    assert (usual.epochs, usual.length, usual.rate, usual.ask, usual.corpus) == (10, 100, 0.5, False, None)
    assert (usual.quick, quick.quick, quick.epochs, quick.length, quick.rate) == (False, True, 1, 20, 0.5)
    typed = chosen("--quick", "--epochs", "7", "--ask", "--corpus", "a.txt", "--out", str(tmp_path / "a/b"))
    assert (typed.epochs, typed.length, typed.ask, typed.corpus) == (7, 20, True, Path("a.txt"))
    assert typed.figure("c.png") == tmp_path / "a/b/c.png"
    assert (tmp_path / "a/b").is_dir()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--epochs", "ten"], "invalid int value: 'ten'"),
        (["--epoch", "10"], "unrecognized arguments: --epoch"),
    ],
)
def test_options_that_are_not_understood(typed, said, capsys):
    with pytest.raises(SystemExit):
        common.options("Doc.", typed, epochs=10)
    assert said in capsys.readouterr().err


def test_options_show_the_docstring_and_both_defaults(capsys):
    with pytest.raises(SystemExit):
        common.options("What it does.", ["--help"], epochs=(10, "100% rounds"), quick={"epochs": 1})
    out = capsys.readouterr().out
    assert "What it does." in out
    assert "100% rounds (10, --quick: 1)" in out


def test_quick_must_name_options():
    with pytest.raises(ValueError, match="there is no option epoch"):
        common.options("Doc.", [], epochs=10, quick={"epoch": 1})


def test_options_seed_everything():
    draws = []
    for seed in ("3", "3", "4"):
        common.options("Doc.", ["--seed", seed])
        draws.append(tinyrnn.layers.Dense(2, name="d")(np.ones((1, 3), "float32")).data.tolist())
    assert draws[0] == draws[1] != draws[2]


def test_naive_bayes_is_bayes_rule():
    """Word 1 in two thirds of class 0, word 2 in three quarters of class 1, both smoothed by one."""
    x, y = [[1, 1, 2], [1, 2], [2, 2, 2, 1]], [0, 0, 1]
    # Counts with one added, of ids 0, 1, 2: class 0 has 1, 4, 3 of 8; class 1 has 1, 2, 4 of 7.
    for ids in ([1], [2], [1, 2], [2, 2], []):
        n1, n2 = ids.count(1), ids.count(2)
        p = [2 / 3 * (4 / 8) ** n1 * (3 / 8) ** n2, 1 / 3 * (2 / 7) ** n1 * (4 / 7) ** n2]
        assert common.naive_bayes(x, y, [ids]) == [np.argmax(p)]
    assert common.naive_bayes(x, y, [[2] * 5, [1]]).tolist() == [1, 0]
