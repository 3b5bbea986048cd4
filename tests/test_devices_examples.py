"""Examples on a GPU, without a change in the program: the same curves as on the CPU."""

import deep_rnn
import imdb_lstm
import numpy as np
import own_cells
import pytest
import rnn_by_hand
import spoken_vowels

import tinyrnn
from tinyrnn.backend import on_device
from tinyrnn.datasets import spoken_vowels as utterances
from tinyrnn.layers import RNNCell, regularization


@pytest.fixture
def curves(device_library, fits, tmp_path, monkeypatch):
    """``curves(example, *typed)``: what an example returns on the GPU, its losses compared with the CPU's.

    Nothing is dropped and there is no noise: random numbers are not the same there.
    """
    monkeypatch.setattr(regularization.GaussianNoise, "disturb", lambda self, x: x)
    monkeypatch.setattr(regularization, "dropout", lambda x, *args: x)
    monkeypatch.setattr(RNNCell, "draw_masks", lambda self, *args: (None, None))

    def run(example, *typed):
        found = []
        for device in ("cpu", "gpu"):
            fits.clear()
            tinyrnn.set_device(device)
            figures = example.main([*map(str, typed), "--out", str(tmp_path / device)])
            models = [call["self"] for call in fits]
            assert all(on_device(w.data) == (device == "gpu") for model in models for w in model.weights)
            found.append((figures, [model.history.history["loss"] for model in models]))
        (_, on_cpu), (_, on_gpu) = found
        np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-3)
        return found[1][0]

    return run


def test_deep_rnn(small_imdb, curves):
    figures = curves(deep_rnn, "--length", 9, "--epochs", 1, "--reviews", 64)
    assert all(len(values) == 9 for values in figures["after"].values())


def test_imdb_lstm(small_imdb, curves):
    figures = curves(imdb_lstm, "--length", 12, "--epochs", 1, "--reviews", 64)
    assert 0 <= figures["accuracy"] <= 1


def test_own_cells(small_imdb, curves, capsys):
    curves(own_cells, "--length", 9, "--epochs", 1, "--rounds", 1, "--reviews", 64)
    assert capsys.readouterr().out.count("kernel 'gpu'") == 3


def test_rnn_by_hand(device_library, tmp_path):
    tinyrnn.set_device("gpu")
    differences = rnn_by_hand.main(["--out", str(tmp_path)])["differences"]
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        assert list(differences[dtype]) == ["unrolled", "array", "gpu"]
        assert max(max(values.values()) for values in differences[dtype].values()) < tolerance


def test_spoken_vowels(at_hand, monkeypatch, curves):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((9, 12))
    for part in ("TRAIN", "TEST"):
        lines = ["# made here", "@data"]
        for speaker, centre in enumerate(centres, start=1):
            for _ in range(2):
                frames = centre[:, None] + 0.5 * rng.standard_normal((12, rng.integers(7, 12)))
                lines.append(":".join([*(",".join(f"{v:.4f}" for v in c) for c in frames), str(speaker)]))
        file = at_hand("\n".join(lines).encode(), f"JapaneseVowels_{part}.ts")
        monkeypatch.setattr(utterances, part, file)
    assert curves(spoken_vowels, "--epochs", 2)["padding"] < 1e-5
