"""Every example runs, in a small setting of the same code, on data made here: no network, no waiting.

The examples lie on the path (see setup.cfg): a test imports one and calls its `main` with what a user types.
"""

import importlib
import subprocess
import sys
import warnings
from pathlib import Path

import alice_characters
import common
import film_reviews
import imdb_bidirectional
import imdb_comparison
import imdb_lstm
import imdb_simple_rnn
import imdb_stacked_lstm
import numpy as np
import pytest
import short_sentences

import tinyrnn
from tinyrnn.callbacks import EarlyStopping
from tinyrnn.datasets import imdb, sms_spam
from tinyrnn.decoding import sample
from tinyrnn.layers import LSTM, Activation, Dense, Dropout, Embedding, SimpleRNN, SpatialDropout1D
from tinyrnn.models import Sequential
from tinyrnn.optimizers import Adam

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
        (["--epochs", "ten"], "argument --epochs: expected a whole number from 1 on, found 'ten'"),
        (["--epochs", "0"], "argument --epochs: expected a whole number from 1 on, found '0'"),
        (["--length", "2"], "argument --length: expected a whole number from 3 on, found '2'"),
        (["--seed", "-1"], "argument --seed: expected a whole number from 0 on, found '-1'"),
        (
            ["--out", __file__],
            f"argument --out: expected a folder that can be written to, found {__file__!r}",
        ),
        (["--out", f"{__file__}/a/b"], "argument --out: expected a folder that can be written to"),
        (["--epoch", "10"], "unrecognized arguments: --epoch"),
    ],
)
def test_options_that_are_not_understood(typed, said, capsys):
    with pytest.raises(SystemExit):
        common.options("Doc.", typed, epochs=10, length=(9, "of words", 3))
    assert said in capsys.readouterr().err


def test_what_cannot_be_had_is_said_in_a_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/there/example.py"])

    def main(error):
        raise error

    with pytest.raises(SystemExit, match=r"^example.py: no data$"):
        common.run(lambda: main(OSError("no data")))
    with pytest.raises(ZeroDivisionError):  # a mistake of ours is shown whole
        common.run(lambda: main(ZeroDivisionError()))


def test_an_example_without_its_data_ends_with_a_line(data_folder):
    file = Path(common.__file__).with_name("imdb_simple_rnn.py")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "\nimdb_simple_rnn.py: " in done.stderr
    assert "Traceback" not in done.stderr


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
        assert common.naive_bayes((x, y), ([ids], [np.argmax(p)])) == 1
        assert common.naive_bayes((x, y), ([ids], [np.argmin(p)])) == 0
    assert common.naive_bayes((x, y), ([[2] * 5, [1], [1, 1], [1]], [1, 0, 0, 1])) == 0.75


# --- every example ----------------------------------------------------------------------------------------

EXAMPLES = sorted(
    {path.stem for path in Path(common.__file__).parent.glob("*.py")} - {"common", "film_reviews"}
)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_explains_itself_and_stands_in_the_readme(name, capsys):
    example = importlib.import_module(name)
    with pytest.raises(SystemExit) as done:
        example.main(["--help"])
    assert not done.value.code
    shown = capsys.readouterr().out
    assert example.__doc__.splitlines()[0] in shown
    assert all(option in shown for option in ("--quick", "--seed", "--out"))
    assert f"({name}.py)" in Path(common.__file__).with_name("README.md").read_text(encoding="utf-8")


USUAL = {  # rounds and batches as the programs' authors have them, where they say so
    "alice_characters": {"epochs": 25, "batch_size": 128},
    "deep_rnn": {"epochs": 3, "length": 100},
    "electricity": {"epochs": 5},
    "gradients_through_time": {"epochs": 10, "sequences": 8000},
    "imdb_bidirectional": {"epochs": 10, "batch_size": 64},
    "imdb_comparison": {"epochs": 3, "batch_size": 128},
    "imdb_lstm": {"epochs": 3, "batch_size": 64, "length": 200},
    "imdb_simple_rnn": {"epochs": 5, "batch_size": 64},
    "imdb_stacked_lstm": {"epochs": 10, "batch_size": 32},
    "own_cells": {"epochs": 3, "batch_size": 64, "rounds": 200},
    "part_of_speech": {"epochs": 10, "masked_epochs": 6, "length": 250},
    "rnn_by_hand": {"start": 3000},
    "short_sentences": {"epochs": 10, "batch_size": 32, "review_epochs": 3},
    "spelling_to_sound": {"epochs": 10, "batch_size": 128, "units": 256, "width": 4},
    "spoken_vowels": {"epochs": 60, "batch_size": 16},
    "topologies": {"epochs": 60},
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_has_its_usual_settings_and_quick_ones(name, monkeypatch):
    class Chosen(Exception):  # noqa: N818 - nothing is wrong, the rest is only not run
        pass

    def chosen(typed):
        def options(*args, **kwargs):
            raise Chosen(read(*args, **kwargs))

        monkeypatch.setattr(common, "options", options)
        with pytest.raises(Chosen) as stopped:
            importlib.import_module(name).main(typed)
        return vars(stopped.value.args[0])

    read = common.options
    usual, quick = chosen([]), chosen(["--quick"])
    assert usual == usual | USUAL[name]
    assert (usual["quick"], usual["seed"], usual["out"]) == (False, 1, common.RESULTS)
    changed = {key for key in usual if quick[key] != usual[key]}
    assert changed > {"quick"} or name == "rnn_by_hand"  # that is quick anyway
    assert all(quick[key] < usual[key] for key in changed - {"quick", "rate"})


def test_an_example_runs_as_a_file():
    """From another folder, as a process of its own."""
    file = Path(common.__file__).with_name("imdb_lstm.py")
    done = subprocess.run(
        [sys.executable, file, "--help"], capture_output=True, text=True, cwd=file.anchor, check=True
    )
    assert "Film reviews" in done.stdout


# --- film reviews -----------------------------------------------------------------------------------------


def is_png(path):
    return path.read_bytes()[:4] == b"\x89PNG"


def run(example, out, *typed):
    """Run an example with what a user types; every plot must be there."""
    figures = example.main([*map(str, typed), "--out", str(out)])
    assert is_png(figures["plot"])
    assert figures["plot"].parent == out
    return figures


def test_reviews_are_padded_and_sentences_coded_alike(small_imdb):
    reviews = film_reviews.Reviews(100, 20, limit=50)
    (x, y), (x_test, y_test) = reviews.train, reviews.test
    assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((50, 20), (50,), (100, 20), (100,))
    assert (x[:, 0] == 0).all()
    post = film_reviews.Reviews(100, 20, padding="post", truncating="post")
    assert post.train[0].shape == (300, 20)
    assert (post.train[0][:, 0] == 1).all()
    good, unknown = post.code(["good", "xylophone"])
    assert good[0] == 1
    assert 2 < good[1] < 100
    assert not good[2:].any()
    assert unknown[:3].tolist() == [1, 2, 0]
    assert post.naive_bayes() == 1.0  # every third word tells the label


def test_a_typed_sentence_is_scored(small_imdb, monkeypatch, capsys):
    reviews = film_reviews.Reviews(100, 20)
    model = Sequential([Embedding(100, 4), LSTM(2), Dense(1, activation="sigmoid")])
    typed = iter(["good fun", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    film_reviews.ask(model, reviews)
    out = capsys.readouterr().out
    score = model.predict(reviews.code(["good fun"]), verbose=0).item()
    assert f"{score:6.1%} praise" in out

    def end_of_input(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", end_of_input)
    film_reviews.ask(model, reviews)


def test_imdb_lstm(small_imdb, tmp_path):
    figures = run(imdb_lstm, tmp_path, "--length", 20, "--batch-size", 20)
    assert figures["accuracy"] > 0.95


def test_imdb_stacked_lstm(small_imdb, tmp_path, monkeypatch, capsys, fits):
    asked = []
    monkeypatch.setattr(film_reviews, "ask", lambda *given: asked.append(given))
    figures = run(imdb_stacked_lstm, tmp_path, "--epochs", 8)
    assert asked == []  # there is no terminal here
    assert figures["accuracy"] > 0.95
    assert [(call["batch_size"], call["validation_split"]) for call in fits] == [(32, 0.2)]
    assert figures["naive_bayes"] == 1.0
    assert len(figures["scores"]) == len(film_reviews.OPINIONS)
    run(imdb_stacked_lstm, tmp_path, "--epochs", 1, "--ask", "--reviews", 60)
    assert len(asked) == 1
    assert "171,473" in capsys.readouterr().out  # weights, in the summary


def kinds(model):
    """Return the names of the classes of a model's layers."""
    return [type(layer).__name__ for layer in model.layers]


def test_imdb_simple_rnn(small_imdb, tmp_path, fits):
    figures = run(imdb_simple_rnn, tmp_path, "--batch-size", 20, "--epochs", 4)
    assert figures["SimpleRNN"]["accuracy"] > 0.9
    assert figures["LSTM"]["accuracy"] > 0.9
    assert [kinds(call["self"])[1] for call in fits] == ["SimpleRNN", "LSTM"]
    assert all(len(call["validation_data"][1]) == 100 for call in fits)  # the test part, to watch it


@pytest.mark.parametrize(
    ("kind", "total", "recurrent"),
    [
        ("SimpleRNN", 44_785, [10_560]),
        ("LSTM", 76_465, [42_240]),
        ("Bidirectional", 221_617, [84_480, 98_816]),
    ],
)
def test_imdb_bidirectional_has_these_parameters(kind, total, recurrent, capsys):
    model = imdb_bidirectional.build_model(kind)
    counts = [layer.count_params() for layer in model.layers]
    assert counts == [30_000, *recurrent, 8_256 if kind == "Bidirectional" else 4_160, 65]
    assert model.count_params() == total
    model.summary()
    assert f"Total params: {total:,}" in capsys.readouterr().out
    assert model.layers[0].mask_zero
    assert model.optimizer.clipnorm == 1.0


def test_imdb_bidirectional(small_imdb, tmp_path, monkeypatch, fits):
    monkeypatch.setattr(imdb_bidirectional, "LENGTH", 20)
    figures = run(imdb_bidirectional, tmp_path, "--epochs", 3, "--batch-size", 16)
    for kind in imdb_bidirectional.MODELS:
        assert figures[kind]["accuracy"] > 0.9
    assert [kinds(call["self"])[1] for call in fits] == ["SimpleRNN", "LSTM", "Bidirectional"]
    assert [call["validation_split"] for call in fits] == [0.1] * 3
    # 270 reviews in batches of 16: 17 an epoch, after which a step is 0.8 of what it was.
    assert [
        call["self"].optimizer.get_config()["learning_rate"]["config"]["decay_steps"] for call in fits
    ] == [17] * 3


def test_imdb_comparison(small_imdb, tmp_path, capsys, monkeypatch, fits):
    """At the end of 30 words of which 9 to 14 are words, a mask is what makes the difference."""
    monkeypatch.setattr(imdb_comparison, "LENGTH", 30)
    figures = run(imdb_comparison, tmp_path, "--epochs", 6, "--batch-size", 10)
    printed = capsys.readouterr().out
    for name in ("SimpleRNN", "LSTM", "SimpleRNN, masked", "LSTM, masked"):
        assert figures[name]["seconds"] > 0
        assert f"{name:18} {figures[name]['parameters']:8,}" in printed
    assert figures["LSTM, masked"]["accuracy"] > 0.9
    assert figures["SimpleRNN, masked"]["accuracy"] > 0.9
    models = [call["self"] for call in fits]
    assert [model.layers[0].mask_zero for model in models] == [False, False, True, True]
    assert [kinds(model)[1:-1] for model in models] == [["SimpleRNN"] * 2, ["LSTM"]] * 2
    assert [call["validation_split"] for call in fits] == [0.2] * 4
    for x in (fits[0]["x"], fits[-1]["x"]):  # zeros stand at the end
        assert (x[:, 0] > 0).all()
        assert (x[:, -1] == 0).all()


def test_training_that_runs_away_is_remarked_upon():
    good = {"accuracy": [0.6, 0.8], "val_accuracy": [0.6, 0.79], "val_loss": [0.6, 0.5]}
    assert imdb_comparison.remark(good) == ""
    away = {"accuracy": [0.8, 0.9], "val_accuracy": [0.8, 0.79], "val_loss": [0.4, 0.5]}
    said = imdb_comparison.remark(away)
    assert "11.0% more of the training part" in said
    assert "lowest after epoch 1" in said


# --- characters -------------------------------------------------------------------------------------------


def test_alice_characters(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text(
        "The cat sat on the mat.\nThe dog ate a Big  log.\n" * 60, encoding="utf-8"
    )
    degrees = []
    monkeypatch.setattr(
        alice_characters, "sample", lambda p, degree: degrees.append(degree) or sample(p, degree)
    )
    typed = ("--text", tmp_path / "text.txt", "--epochs", 8, "--length", 20, "--temperature", 0.4)
    figures = run(alice_characters, tmp_path, *typed)
    assert (degrees.count(0.0), degrees.count(0.4)) == (8 * 20, 8 * 20 + 2 * 2_000)
    assert len(degrees) == 2 * 8 * 20 + 2 * 2_000
    assert figures["loss"][-1] < 0.1 < 0.5 < figures["loss"][0]
    assert figures["words_before"] < 0.2
    assert figures["words_after"] > 0.8


def test_alice_is_written_on_from_her_last_characters():
    """The model is handed the window that the text ends with; at temperature 0 its favourite follows."""

    class Model:
        windows = []

        def predict_on_batch(self, x):
            self.windows.append("".join("abc"[i] for i in x[0].argmax(axis=-1)))
            following = (x[0, -1].argmax() + 1) % 3
            return np.eye(3)[[following]]

    writer = alice_characters.Writer(Model(), "abc")
    assert writer.write("aaaaaaaaab", 4, temperature=0) == "cabc"
    assert Model.windows == ["aaaaaaaaab", "aaaaaaaabc", "aaaaaaabca", "aaaaaabcab"]


def test_alice_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(
        alice_characters.gutenberg, "load_data", lambda book: f"[{book}]\n\nDown  the\nCaf\xe9"
    )
    assert alice_characters.load_text("carroll-alice") == "down the caf"
    assert len(alice_characters.load_text("python-docs")) > 300_000
    with pytest.raises(SystemExit, match="--text: 'carol' is no file, no book"):
        alice_characters.load_text("carol")
    (tmp_path / "short.txt").write_bytes(b"\xff Hi \n there")
    with pytest.raises(SystemExit, match="--text: expected more than 10 characters, found 8"):
        alice_characters.load_text(str(tmp_path / "short.txt"))
    assert alice_characters.share_of_words("e cat dgo cat c", "the cat") == pytest.approx(2 / 3)
    assert alice_characters.share_of_words("aaaa", "the cat") == 0


# --- short sentences --------------------------------------------------------------------------------------


@pytest.fixture
def small_sentences(at_hand, monkeypatch):
    """One word in each tells the label; the same words are in reviews, but with other neighbours."""
    rng = np.random.default_rng(0)
    rows = ["text,label,source"]
    for source, number, neutral in (
        ("imdb", 150, "it was rather"),
        ("rotten_tomatoes", 100, "a film that is"),
    ):
        for label, telling in ((0, ["bad", "dull", "awful"]), (1, ["good", "fun", "superb"])):
            for i in range(number):
                words = [*rng.permutation(neutral.split()), rng.choice(telling), f"n{i % 50}"]
                rows.append(f"{' '.join(rng.permutation(words))},{label},{source}")
    monkeypatch.setattr(imdb, "REVIEWS", at_hand("\n".join(rows).encode(), "reviews.csv"))
    monkeypatch.setattr(imdb, "HELD_OUT", 20)
    monkeypatch.setattr(short_sentences, "LENGTH", 10)
    monkeypatch.setattr(short_sentences, "IMDB_LENGTH", 10)


def test_short_sentences(small_sentences, tmp_path, capsys, fits):
    figures = run(short_sentences, tmp_path, "--epochs", 10, "--review-epochs", 25, "--batch-size", 10)
    assert figures["frequent"] == 0.5
    assert figures["accuracy"] > 0.9
    assert figures["naive_bayes"] == figures["naive_bayes_all_words"] > 0.9
    assert figures["reader"]["unread"] > 0.9, "it should know these words from the reviews"
    assert figures["reader"]["accuracy"] > 0.9
    first, on_reviews, on_sentences = fits
    assert len(first["validation_data"][1]) == 40
    assert set(on_reviews) == {"self", "x", "y", "batch_size", "epochs"}
    assert "validation_data" not in on_sentences, "what is held out must not say when to stop"
    assert on_sentences["validation_split"] == 0.1
    (stop,) = on_sentences["callbacks"]
    assert isinstance(stop, EarlyStopping)
    assert stop.restore_best_weights
    assert len(on_sentences["x"]) == 160
    printed = capsys.readouterr().out
    assert "160 sentences to train on, 40 to test with: slating or praise" in printed
    assert printed.count("% praise, it is ") == 10


def test_short_sentences_of_ones_own(tmp_path, capsys):
    lines = [
        f"{label}\tsentence {i} is {word}" for i in range(60) for label, word in (("-", "dull"), ("+", "fun"))
    ]
    (tmp_path / "own.txt").write_text("\n".join(lines), encoding="utf-8")
    typed = ("--corpus", tmp_path / "own.txt", "--epochs", 8, "--batch-size", 8)
    figures = run(short_sentences, tmp_path, *typed)
    assert figures["accuracy"] > 0.9
    assert "reader" not in figures, "reviews of films say nothing about another corpus"
    assert "96 sentences to train on, 24 to test with: + or -" in capsys.readouterr().out


def test_short_sentences_takes_messages(at_hand, tmp_path, monkeypatch):
    lines = [f"{label}\t{word} {i}" for i in range(40) for label, word in (("ham", "hello"), ("spam", "win"))]
    monkeypatch.setattr(sms_spam, "MESSAGES", at_hand("\n".join(lines).encode()))
    figures = run(short_sentences, tmp_path, "--corpus", "sms-spam", "--epochs", 8, "--batch-size", 8)
    assert figures["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"--corpus: .*own\.txt.*\n.*none of rotten-tomatoes, sms-spam"),
        ("no label", r"--corpus: .*own\.txt, line 1: expected label<TAB>text"),
        (
            "a\tb\nb\tc\nc\td\n" * 2 + "".join(f"a\t{i}\n" for i in range(9)),
            "expected two labels, found 3: a, b, c",
        ),
    ],
)
def test_short_sentences_of_a_file_that_will_not_do(content, message, tmp_path):
    if content is not None:
        (tmp_path / "own.txt").write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit, match=message):
        short_sentences.main(["--corpus", str(tmp_path / "own.txt")])


# --- as their authors spelled them ------------------------------------------------------------------------


def stacked_lstm_as_written():
    """Row 1: input_length."""
    return Sequential(
        [
            Embedding(5000, 32, input_length=100),
            LSTM(32, return_sequences=True),
            Dropout(0.2),
            LSTM(16),
            Dropout(0.2),
            Dense(1, activation="sigmoid"),
        ]
    )


def alice_as_written():
    """Row 3: input_shape, unroll."""
    return Sequential([SimpleRNN(128, input_shape=(10, 42), unroll=True), Dense(42, activation="softmax")])


def short_sentences_as_written():
    """Row 4: input_length."""
    return Sequential(
        [
            Embedding(2002, 128, input_length=40),
            SpatialDropout1D(0.2),
            LSTM(64, dropout=0.2, recurrent_dropout=0.2),
            Dense(1),
            Activation("sigmoid"),
        ]
    )


def comparison_as_written():
    """Row 10: input_length."""
    return Sequential(
        [
            Embedding(10_000, 32, input_length=500),
            LSTM(32, dropout=0.2, recurrent_dropout=0.2),
            Dense(1, activation="sigmoid"),
        ]
    )


@pytest.mark.parametrize(
    ("as_written", "today", "optimizer", "warned"),
    [
        (stacked_lstm_as_written, imdb_stacked_lstm.build_model, lambda: "adam", {"input_length="}),
        (
            alice_as_written,
            lambda: alice_characters.build_model(42),
            lambda: "rmsprop",
            {"input_shape=", "unroll=True"},
        ),
        (short_sentences_as_written, short_sentences.build_model, lambda: "adam", {"input_length="}),
        (
            comparison_as_written,
            imdb_comparison.build_model,
            lambda: Adam(lr=0.001),
            {"input_length=", "lr is an old spelling"},
        ),
    ],
)
def test_old_spellings_run_and_are_the_same_model(as_written, today, optimizer, warned):
    model = today()
    shape, out = model.input_shape[1:], model.output_shape[-1]
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (8, *shape)) if len(shape) == 1 else np.eye(42)[rng.integers(0, 42, (8, 10))]
    y = rng.integers(0, 2, 8) if out == 1 else np.eye(out)[rng.integers(0, out, 8)]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        old = as_written()
        old.compile(loss=model.loss, optimizer=optimizer(), metrics=["accuracy"])
        old.set_weights(model.get_weights())
        np.testing.assert_array_equal(old.predict(x, verbose=0), model.predict(x, verbose=0))
        assert old.optimizer.get_config() == model.optimizer.get_config()
        curves = old.fit(x, y, validation_data=[x, y], batch_size=4, epochs=8, verbose=0).history
    said = " ".join(str(w.message) for w in caught if w.category is FutureWarning)
    assert all(word in said for word in {"validation_data=[x, y]", *warned})
    assert curves["val_loss"][-1] < curves["val_loss"][0]
