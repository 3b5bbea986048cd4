"""The examples with tags, forecasts, pronunciations and speakers, on small data made here."""

import electricity
import numpy as np
import part_of_speech
import pytest
import spelling_to_sound
import spoken_vowels
import topologies

from tinyrnn.datasets import cmudict
from tinyrnn.datasets import electricity as readings
from tinyrnn.datasets import spoken_vowels as utterances
from tinyrnn.decoding import step_of
from tinyrnn.layers import (
    GRU,
    LSTM,
    Activation,
    Dense,
    Embedding,
    RepeatVector,
    SpatialDropout1D,
    TimeDistributed,
)
from tinyrnn.models import Sequential


def run(example, out, *typed):
    """Run an example with what a user types; every plot must be there."""
    figures = example.main([*map(str, typed), "--out", str(out)])
    for plot in figures.get("plots") or [figures["plot"]]:
        assert plot.read_bytes()[:4] == b"\x89PNG"
        assert plot.parent == out
    return figures


# --- electricity ------------------------------------------------------------------------------------------


def hourly(at_hand, days):
    """A series with a shape for the day, lower on two days of the week, and a little noise."""
    hours = np.arange("2012-01-01T00", days * 24, dtype="datetime64[h]")
    t = np.arange(len(hours))
    load = 1000 + 400 * np.sin(t * np.pi / 12) + 150 * np.sin(t * np.pi / 4) - 300 * (t // 24 % 7 > 4)
    load += 20 * np.random.default_rng(0).standard_normal(len(t))
    rows = [f"{str(h).replace('T', ' ')}:00:00,{y}" for h, y in zip(hours, load, strict=True)]
    return at_hand("\n".join(["ts,y", *rows]).encode(), "hourly_electricity.csv")


def test_electricity(at_hand, tmp_path, monkeypatch, capsys, fits):
    monkeypatch.setattr(readings, "READINGS", hourly(at_hand, days=250))
    orders = []

    def forecast(model, x, order):
        orders.append(order)
        return forecast_as_it_is(model, x, order)

    forecast_as_it_is = electricity.forecast
    monkeypatch.setattr(electricity, "forecast", forecast)
    figures = run(electricity, tmp_path, "--epochs", 8)
    for name in ("stateless", "stateful"):  # whoever says the mean has about 0.27
        assert figures[name] < 0.18
    assert f"stateful             {figures['stateful']:.4f}" in capsys.readouterr().out

    _, load = readings.load_data()
    known, tested = load[: 200 * 24], 1200 // electricity.BATCH * electricity.BATCH
    when = np.arange(200 * 24, 200 * 24 + tested)
    for name, hours in (("last reading", 1), ("a day before", 24)):
        expected = np.sqrt(np.mean((load[when] - load[when - hours]) ** 2)) / np.ptp(known)
        assert figures[name] == pytest.approx(expected, rel=1e-4)

    stateless, stateful, gaps = fits[0], fits[1:9], fits[9:]
    assert (stateless["epochs"], len(gaps)) == (8, 8)
    assert stateless.get("shuffle", True)
    assert not any(call["shuffle"] for call in (*stateful, *gaps))
    first, second = slice(electricity.BATCH), slice(electricity.BATCH, 2 * electricity.BATCH)
    x, y = stateful[0]["x"], stateful[0]["y"]
    assert np.mean(x[second, 0, 0] == y[first]) > 0.98  # all rows but the one at the end of the series go on
    x, y = gaps[0]["x"], gaps[0]["y"]
    assert np.mean(x[second, 0, 0] == y[first]) < 0.02
    plain, ordered = np.arange(tested), electricity.in_order(tested)
    for order, expected in zip(orders, (plain, ordered, plain), strict=True):
        np.testing.assert_array_equal(order, expected)


def test_every_epoch_and_the_forecast_begin_from_zeros(monkeypatch):
    model = electricity.build_model(stateful=True)
    x = np.random.default_rng(0).random((2 * electricity.BATCH, electricity.LENGTH, 1), dtype="float32")
    sizes, fit = [], model.fit

    def remembered():
        return sum(float(abs(state).sum()) for state in model.layers[0].states or ())

    def measured(*args, **kwargs):
        sizes.append(remembered())
        fit(*args, **kwargs)
        assert remembered() > 0

    monkeypatch.setattr(model, "fit", measured)
    electricity.train(model, x, x[:, 0, 0], epochs=2, stateful=True)
    assert [*sizes, remembered()] == [0.0, 0.0, 0.0]


def test_rows_of_batches_in_order_go_on_where_they_ended():
    count = 41 * electricity.BATCH
    order = electricity.in_order(count)
    assert sorted(order) == list(range(count))
    batches = order.reshape(-1, electricity.BATCH)
    goes_on = batches[1:] == batches[:-1] + electricity.LENGTH
    last = batches[:-1][~goes_on]  # only the end of the series is not gone on from
    assert len(last) < electricity.LENGTH
    assert (last >= count - electricity.LENGTH).all()


def test_windows_are_followed_by_their_targets():
    x, y = electricity.windows(np.arange(250.0))
    assert x.shape == (2 * electricity.BATCH, electricity.LENGTH, 1)
    np.testing.assert_array_equal(x[7, :, 0], np.arange(7, 27))
    assert y[7] == 27


def test_topologies(at_hand, tmp_path, monkeypatch, fits):
    monkeypatch.setattr(readings, "READINGS", hourly(at_hand, days=300))
    monkeypatch.setattr(topologies, "TEST", 30)
    figures = run(topologies, tmp_path, "--epochs", 40)
    assert len(figures["plots"]) == 3
    # Of 300 days the first week is only read, the last 30 test, and no input or target reaches into these.
    assert [len(call["x"]) for call in fits] == [len(call["y"]) for call in fits] == [300 - 7 - 30 - 7] * 3
    assert figures["one-to-many"] < 0.15  # whoever says the mean has about 0.27
    assert figures["many-to-one"] < figures["many-to-one, simple"]
    assert figures["many-to-many"] < 0.8 * figures["many-to-many, simple"]


def test_topologies_see_nothing_of_what_they_forecast():
    """Every reading is the number of its hour: what goes in is older than what comes out."""
    dates = np.arange("2012-01-01", "2012-02-01", dtype="datetime64[D]")
    days = np.arange(len(dates) * 24.0).reshape(-1, 24)
    _, (x, y, simple) = topologies.many_to_one(dates, days)
    assert x[0, [0, -1], 0].tolist() == [0, 167]
    assert (y[0], simple[0]) == (191, 167)
    assert y[-1] == days[-1, -1]
    _, (x, y, simple) = topologies.many_to_many(dates, days)
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(simple, x)
    assert y[-1, -1] == days[-1, -1]
    _, (x, y, simple) = topologies.one_to_many(dates, days)
    assert (len(x), len(y)) == (24, 24)
    np.testing.assert_array_equal(y - simple, 168)
    assert (x[0, :7] == x[7, :7]).all()
    assert x[:7, :7].sum(axis=0).tolist() == [1] * 7


# --- parts of speech --------------------------------------------------------------------------------------


def conllu(sentences):
    """Sentences of a language in which "the" or "to" says what a word is, or else its last three letters."""
    rng, lines = np.random.default_rng(0), []
    for _ in range(sentences):
        words = []
        for _ in range(int(rng.integers(2, 5))):
            noun = rng.random() < 0.5
            tag, ending = ("NOUN", "ung") if noun else ("VERB", "iss")
            if rng.random() < 0.6:
                words += [("the", "DET") if noun else ("to", "PART"), (f"w{rng.integers(8)}", tag)]
            else:
                words += [(f"x{rng.integers(10**6)}{ending}", tag)]
        for i, (word, tag) in enumerate([*words, (".", "PUNCT")], start=1):
            lines.append("\t".join([str(i), word, "_", tag, tag[0], *"_____"]))
        lines.append("")
    return "\n".join(lines).encode()


def test_part_of_speech(tmp_path, monkeypatch, capsys):
    (tmp_path / "own.conllu").write_bytes(conllu(360))
    monkeypatch.setattr(part_of_speech, "MIN_DRAWN", 10)
    typed = ("--treebank", tmp_path / "own.conllu", "--tags", "xpos", "--length", 9)
    figures = run(part_of_speech, tmp_path, *typed, "--epochs", 1, "--masked-epochs", 8)
    assert figures["masked"] > figures["most frequent"] + 0.1
    assert figures["masked, endings"] > figures["masked"] + 0.05
    assert set(figures) >= {"GRU", "LSTM", "bidirectional"}
    printed = capsys.readouterr().out
    assert "288 sentences to train on, 72 to test with, 4 tags" in printed
    assert f"{figures['masked']:.3f}" in printed
    new = figures["new words"]  # they are all nouns or verbs, and their endings say which
    assert new["most frequent"] < 0.7
    assert new["masked"] < 0.9 < new["masked, endings"]
    assert f"{new['masked']:17.3f}{new['masked, endings']:17.3f}\n" in printed


@pytest.mark.parametrize(("typed", "message"), [("gone.conllu", "gone.conllu"), ("b.conllu", "10 columns")])
def test_part_of_speech_of_a_file_that_will_not_do(tmp_path, typed, message):
    (tmp_path / "b.conllu").write_text("a b c\n")
    with pytest.raises(SystemExit, match=f"--treebank: .*{message}"):
        part_of_speech.main(["--treebank", str(tmp_path / typed)])


@pytest.mark.parametrize("endings", [False, True])
def test_masked_tagger_skips_padding(endings):
    model = part_of_speech.build_masked_model(5, endings)
    embeddings = [layer for layer in model.layers if isinstance(layer, Embedding)]
    assert [layer.mask_zero for layer in embeddings] == [True] * (1 + endings)
    x, padded = np.array([[7, 8, 9]]), np.array([[7, 8, 9, 0, 0]])
    alone, among = (model.predict([a, a] if endings else a, verbose=0) for a in (x, padded))
    np.testing.assert_allclose(among[:, :3], alone, rtol=1e-5)


def test_baseline_takes_the_most_frequent_tag():
    words, tags = [["a", "b", "a"], ["a", "c"]], [["X", "Y", "X"], ["Z", "X"]]
    found = part_of_speech.most_frequent_tags(words, tags, [["b", "a", "new"]])
    assert found == [["Y", "X", "X"]]


# --- spelling to sound ------------------------------------------------------------------------------------

SOUNDS = {"a": "AA1", "b": "B", "d": "D", "e": "EH0", "s": "S", "t": "T", "x": "K S"}


def dictionary(words):
    """A language that is written as it is spoken, only that x is two phonemes; some words have a twin."""
    rng = np.random.default_rng(0)
    spelled = sorted({"".join(rng.choice(list(SOUNDS), rng.integers(1, 6))) for _ in range(words)})
    lines = [f"{word} {' '.join(SOUNDS[letter] for letter in word)}" for word in spelled]
    return "\n".join([*lines, "a(2) EH0 # comment", "a.b. B", "co-ed T"]).encode()


def test_spelling_to_sound(at_hand, tmp_path, monkeypatch, capsys):
    widths, pronounce = [], spelling_to_sound.pronounce
    monkeypatch.setattr(
        spelling_to_sound, "pronounce", lambda *given: widths.append(given[-1]) or pronounce(*given)
    )
    monkeypatch.setattr(cmudict, "DICTIONARY", at_hand(dictionary(1200), "cmudict.dict"))
    typed = ("--epochs", 25, "--units", 48, "--batch-size", 32, "--rate", 0.01, "--width", 3, "--say", "Tax")
    figures = run(spelling_to_sound, tmp_path, *typed)
    assert figures["greedy error"] < 0.15
    assert figures["beam error"] < 0.15
    assert figures["beam exact"] > 0.6
    assert widths == [1, 3, 3]  # greedy, the beam, the word asked for
    printed = capsys.readouterr().out
    assert "  tax          T AA K S\n" in printed
    assert "(right)\n" in printed
    assert "step by step:" in printed
    with pytest.raises(SystemExit, match=r"--say: expected words of the letters abc.*, found 'naïve'"):
        spelling_to_sound.main(["--say", "naïve"])


def test_words_are_split_once_and_for_all():
    words = {f"{a}{b}": [] for a in "abcdefgh" for b in "abcdefgh"} | {"a.": [], "b-b": []}
    train, unseen = spelling_to_sound.split(words)
    assert len(unseen) == 6
    assert sorted(train + unseen) == sorted(w for w in words if w.isalpha())
    assert spelling_to_sound.split(words) == (train, unseen)


def test_targets_are_a_step_ahead_of_what_is_given():
    pronunciations = {"ab": [("A", "B"), ("B",)], "c": [("C",)]}
    number = {"A": 3, "B": 4, "C": 5}
    (letters, given), wanted = spelling_to_sound.training_pairs(["ab", "c"], pronunciations, number)
    assert letters.tolist() == [[1, 2], [1, 2], [3, 0]]
    assert given.tolist() == [[1, 3, 4], [1, 4, 0], [1, 5, 0]]
    assert wanted.tolist() == [[3, 4, 2], [4, 2, 0], [5, 2, 0]]


def test_words_come_back_in_their_order():
    _, encoder, decoder = spelling_to_sound.build_model(7, 8)
    step, names = step_of(decoder), list("PSEabcd")
    words = ["three", "a", "be", "a"]
    for width in (1, 3):
        together = spelling_to_sound.pronounce(encoder, step, words, names, width)
        alone = [spelling_to_sound.pronounce(encoder, step, [w], names, width)[0][:4] for w in words]
        assert [said[:4] for said in together] == alone


def test_a_beam_is_searched_and_a_width_of_one_is_greedy(monkeypatch):
    used = []

    def spy(name):
        search = getattr(spelling_to_sound, name)

        def spied(*args, **kwargs):
            used.append((name, kwargs.get("width")))
            return search(*args, **kwargs)

        monkeypatch.setattr(spelling_to_sound, name, spied)

    spy("greedy_search")
    spy("beam_search")
    _, encoder, decoder = spelling_to_sound.build_model(7, 8)
    for width in (1, 3):
        spelling_to_sound.pronounce(encoder, step_of(decoder), ["abc"], list("PSEabcd"), width)
    assert used == [("greedy_search", None), ("beam_search", 3)]


# --- spoken vowels ----------------------------------------------------------------------------------------


def spoken(per_speaker, centres, rng):
    lines = ["# made here", "@data"]
    for speaker, centre in enumerate(centres, start=1):
        for _ in range(per_speaker):
            frames = centre[:, None] + 0.5 * rng.standard_normal((12, rng.integers(7, 20)))
            lines.append(":".join([*(",".join(f"{v:.4f}" for v in c) for c in frames), str(speaker)]))
    return "\n".join(lines).encode()


def test_spoken_vowels(at_hand, tmp_path, monkeypatch, capsys, fits):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((9, 12))
    for part, number in (("TRAIN", 6), ("TEST", 3)):
        file = at_hand(spoken(number, centres, rng), f"JapaneseVowels_{part}.ts")
        monkeypatch.setattr(utterances, part, file)
    figures = run(spoken_vowels, tmp_path, "--epochs", 20)
    assert figures["GRU, masked"] > 0.9
    assert figures["nearest speaker"] > 0.9
    assert figures["padding"] < 1e-5
    assert ["masking" in call["self"].layers[0].name for call in fits] == [False, True]
    assert "54 utterances to train on, 27 to test with" in capsys.readouterr().out


# --- as their authors spelled them ------------------------------------------------------------------------


def test_tagger_as_written():
    """Row 5: input_length."""
    with pytest.warns(FutureWarning, match="input_length="):
        model = Sequential(
            [
                Embedding(part_of_speech.FIRST + part_of_speech.WORDS, 128, input_length=250),
                SpatialDropout1D(0.2),
                GRU(64, dropout=0.2, recurrent_dropout=0.2),
                RepeatVector(250),
                GRU(64, return_sequences=True),
                TimeDistributed(Dense(15)),
                Activation("softmax"),
            ]
        )
    same = part_of_speech.build_model(GRU, 250, 15)
    assert [w.shape for w in model.weights] == [w.shape for w in same.weights]
    assert model.output_shape == same.output_shape == (None, 250, 15)


def test_forecaster_as_written():
    """Row 6: batch_input_shape, reset_states of the model."""
    with pytest.warns(FutureWarning, match="batch_input_shape="):
        model = Sequential([LSTM(10, batch_input_shape=(96, 20, 1), stateful=True), Dense(1)])
    same = electricity.build_model(stateful=True)
    assert [w.shape for w in model.weights] == [w.shape for w in same.weights]
    same.set_weights(model.get_weights())
    x = np.random.default_rng(0).standard_normal((96, 20, 1)).astype("float32")
    first, second = (model.predict_on_batch(x) for _ in range(2))
    np.testing.assert_array_equal(same.predict_on_batch(x), first)
    np.testing.assert_array_equal(same.predict_on_batch(x), second)
    assert not np.allclose(first, second)
    model.reset_states()
    np.testing.assert_array_equal(model.predict_on_batch(x), first)
