"""The benchmarks, scaled down: all sides compute the same, and what is made of their times is right."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import __main__ as command_line
from benchmarks import models, plots, protocol, report, sections, serving, startup
from benchmarks.models import MODELS, Layer, Model
from benchmarks.protocol import FRAMEWORKS, PEERS, Entry, PeerError, Rules, Worker, check_same, race

QUICKLY = Rules(rounds=2, seconds=0.001, limit=120.0, settle=0.0)
JAX = "Keras on JAX"


def need(peer):
    """Skip a test if a side of the comparison is not installed."""
    if reason := PEERS[peer].missing():
        pytest.skip(f"{peer}: {reason}")


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    log = tmp_path_factory.mktemp("benchmarks") / "peers.log"
    made = {name: Worker(name, 1, log) for name in PEERS}
    yield made
    for worker in made.values():
        worker.close()


# --- models and data ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "parameters"),
    [
        (2, 27_306),
        (4, 640_256 + 37_248 + 24_960 + 2_990),
        (6, 44_785),
        (7, 76_465),
        (8, 221_617),
        (10, 328_353),
    ],
)
def test_models_have_the_parameters_of_their_programs(number, parameters):
    assert sum(w.size for w in models.draw_weights(MODELS[number - 1])) == parameters


def test_flops_are_those_of_the_products():
    layers = (Layer("LSTM", 5, sequences=True, both_ways=True), Layer("GRU", 3), Layer("Dense", 7))
    model = Model("", batch=2, time=11, layers=layers, inputs="real", features=4)
    per_row_and_step = 2 * (2 * (4 + 5) * 20 + (10 + 3) * 9)  # multiply and add; both directions
    assert models.recurrent_flops(model) == 3 * 2 * 11 * per_row_and_step


def test_words_occur_as_often_as_they_should():
    model = replace(MODELS[2], batch=2000)
    counts = np.bincount(models.draw_batches(model, 1)[0].ravel())
    assert counts[0] == 0  # of padding
    np.testing.assert_allclose(counts[[1, 1, 2]] / counts[[2, 4, 6]], [2, 4, 3], rtol=0.1)
    counts = np.bincount(models.draw_batches(replace(model, tokens="uniform"), 1)[0].ravel(), minlength=2002)
    np.testing.assert_allclose(counts[1:], 80_000 / 2001, atol=35)


@pytest.mark.parametrize("padding", ["right", "left", "holes"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.25])
def test_padding_is_where_it_should_be(padding, share):
    model = replace(models.review_model(batch=500, time=40), padding=padding, valid=share)
    valid = models.draw_batches(model, 1)[0] > 0
    assert abs(valid.mean() - share) < 0.02
    assert len(set(valid.sum(axis=1))) > 5  # lengths differ
    turns = np.diff(valid.astype(int), axis=1)
    assert {"right": (turns <= 0).all(), "left": (turns >= 0).all(), "holes": (turns > 0).any()}[padding]


# --- the sides compute the same -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("peer", FRAMEWORKS)
def test_peers_train_and_predict_the_same(workers, peer, number):
    need(peer)
    model = models.shrunk(MODELS[number - 1])
    for action in ("fit", "predict"):
        entries = [Entry("tinyrnn", "tinyrnn", action, model), Entry(peer, peer, action, model)]
        row = race(workers, entries, QUICKLY, same=True)
        assert row["failed"] == {}
        assert {side: len(times) for side, times in row["seconds"].items()} == {"tinyrnn": 2, peer: 2}
        assert min(t for times in row["seconds"].values() for t in times) > 0


@pytest.mark.parametrize("number", [0, -1])
def test_onnx_runtime_computes_the_same(workers, number):
    need("ONNX Runtime")
    model = models.shrunk(models.INFERENCE[number])
    entries = [Entry(action, "tinyrnn", action, model) for action in sections.LIGHTER.values()]
    row = race(workers, [*entries, Entry("onnx", "ONNX Runtime", "call", model)], QUICKLY, same=True)
    assert row["failed"] == {}


def test_another_computation_is_found_out(workers):
    model = models.shrunk(MODELS[0])
    other = replace(model, layers=tuple(replace(x, activation=None) for x in model.layers))
    entries = [Entry(side, "tinyrnn", "predict", m) for side, m in [("one", model), ("other", other)]]
    row = race(workers, entries, QUICKLY, same=True)
    assert row["failed"].keys() == {"other"}
    assert "computes something else: outputs" in row["failed"]["other"]
    assert row["seconds"].keys() == {"one"}


def test_what_is_the_same():
    expected = {"loss": [2.0], "fall": [0.01, 0.02]}
    check_same({"loss": [2.0001], "fall": [0.01, 0.0203]}, expected, tolerance=0.02)
    for wrong in ({"loss": [2.001]}, {"fall": [0.01, 0.021]}, {"fall": [math.nan, 0.02]}):
        with pytest.raises(PeerError, match=next(iter(wrong))):
            check_same(expected | wrong, expected, tolerance=0.02)


# --- processes ----------------------------------------------------------------------------------------------


def test_a_side_that_takes_too_long_is_ended_and_starts_again(workers):
    worker = workers["tinyrnn"]
    worker.close()
    with pytest.raises(PeerError, match=r"no answer within 0\.01 s"):
        worker.ask("describe", limit=0.01)
    assert isinstance(worker.ask("describe"), str)


def test_an_error_in_a_side_is_reported_and_the_side_goes_on(workers):
    entry = Entry("tinyrnn", "tinyrnn", "fly", models.shrunk(MODELS[0]))
    row = race(workers, [entry], QUICKLY, same=True)
    assert "no attribute 'fly'" in row["failed"]["tinyrnn"]
    assert isinstance(workers["tinyrnn"].ask("describe"), str)


def test_a_side_that_is_not_installed_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(protocol.PEERS, "absent", protocol.Peer("absent_peer", ("absent_module",)))
    with pytest.raises(PeerError, match="not installed: absent_module"):
        Worker("absent", 1, tmp_path / "log").ask("describe")


# --- what is made of the times ------------------------------------------------------------------------------


def row(name="a model", info=None, failed=None, **seconds):
    return {"name": name, "info": info or {}, "failed": failed or {}, "seconds": seconds}


def test_ratios_are_of_medians_and_the_best_peer():
    times = row(tinyrnn=[0.002, 0.9, 0.001], **{"PyTorch": [0.006] * 3, JAX: [0.004, 0.005, 0.001]})
    assert report.ratio(times) == pytest.approx(2.0)
    assert report.ratio(times, ["PyTorch"]) == pytest.approx(3.0)
    assert report.ratio(row(PyTorch=[1.0])) is None
    assert report.ratio(row(tinyrnn=[1.0])) is None
    assert report.spread([4.0, 5.0, 6.0, 5.0, 3.0, 7.0, 5.0]) == pytest.approx(0.1)


def test_tables_say_what_was_measured_and_what_is_missing():
    failed = {"PyTorch": "no answer within 180 s"}
    rows = [row("small", tinyrnn=[0.001], PyTorch=[0.0025]), row("large", failed=failed, tinyrnn=[0.25])]
    (table,) = report.tables({"fit": rows})
    assert table.columns == ["milliseconds", "tinyrnn", "PyTorch", "best peer / tinyrnn"]
    assert table.rows == [["small", "1.00 ±0%", "2.50 ±0%", "2.50"], ["large", "250 ±0%", "-", "-"]]
    assert table.notes == ["PyTorch: no answer within 180 s (large)"]
    lines = report.markdown(["a machine"], [table]).splitlines()
    assert lines[0] == "- a machine"
    assert "| small | 1.00 ±0% | 2.50 ±0% | 2.50 |" in lines
    assert lines[-1] == "- PyTorch: no answer within 180 s (large)"


def test_variants_are_compared_with_the_first():
    (table,) = report.tables({"variants": [row(plain=[0.002], masked=[0.003])]})
    assert table.rows == [["plain", "2.00 ±0%", "1.00"], ["masked", "3.00 ±0%", "1.50"]]


def test_share_of_the_rate_of_a_product():
    rate = 2 * 2048**3 / 0.1
    rows = [row(info={"flops": int(rate / 100)}, tinyrnn=[0.02], sgemm=[0.3, 0.1])]
    (table,) = report.tables({"kernels": rows})
    assert table.rows[0][-1] == "50%"
    assert "172 GFLOP/s" in table.caption
    axes = plots.draw_kernels({"kernels": rows}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.5])


def test_plots_draw_the_ratios():
    rows = [row("x", tinyrnn=[0.001], PyTorch=[0.0025]), row("y", tinyrnn=[0.001])]
    axes = plots.draw_ratios({"fit": rows}).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([2.5, 0.0])
    assert [text.get_text() for text in axes.texts] == ["2.50", "-"]


# --- the commands -------------------------------------------------------------------------------------------


def test_the_whole_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sections, "SIZES", {"time": (10, 30), "units": (16,)})
    monkeypatch.setattr(plots, "SIZES", sections.SIZES)
    out = str(tmp_path / "results")
    options = ["--tiny", "--models", "3,5", "--peers", f"{JAX},ONNX Runtime", "--threads", "1"]
    results = command_line.main([*options, "--rounds", "1", "--seconds", "0.001", "--out", out])
    assert results == json.loads((tmp_path / "results" / "results.json").read_text())
    found = results["sections"]
    assert {name: len(rows) for name, rows in found.items()} == {
        "fit": 2, "predict": 2, "inference": 7, "variants": 1, "lengths": 1, "kernels": 2, "growth": 3,
    }  # fmt: skip
    installed = [name for name in (JAX, "ONNX Runtime") if not PEERS[name].missing()]
    for rows in found.values():
        for each in rows:
            assert each["failed"].keys().isdisjoint({"tinyrnn", "sgemm", *sections.LIGHTER, *installed}), each
    sides = {"tinyrnn", JAX} & {"tinyrnn", *installed}
    assert all(each["seconds"].keys() == sides for name in ("fit", "growth") for each in found[name])
    assert len(found["variants"][0]["seconds"]) == 5
    assert len(found["lengths"][0]["seconds"]) == 9
    assert {path.name for path in (tmp_path / "results").glob("*.png")} == {
        "ratios.png", "kernels.png", "growth.png", "lengths.png",
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "TINY MODELS" in printed
    assert "LSTM 10 on one feature, B96 T20" in printed
    command_line.main(["--markdown", str(tmp_path / "results" / "results.json")])
    assert "| one-hot" not in (printed := capsys.readouterr().out)
    assert "| LSTM 10 on one feature, B96 T20 | " in printed


def test_unknown_names_are_refused(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["--models", "3,12"])
    assert "unknown: 12; known: 1, 2," in capsys.readouterr().err


def test_start_up_of_tinyrnn(tmp_path, capsys):
    out = ["--out", str(tmp_path), "--rounds", "1", "--threads", "1"]
    (ours,) = startup.main([*out, "--peers", ""])["rows"]
    assert ours["failed"] is None
    for run in (*ours["cold"], *ours["warm"]):
        assert 0 < run["import"] + run["first step"] < run["from nothing"]
    assert ours["bytes"] > startup.installed_bytes("numpy") > 1e7
    startup.main(["--markdown", str(tmp_path / "startup.json")])
    assert capsys.readouterr().out.count("tinyrnn") >= 2


def test_what_is_needed_is_counted_with_its_dependencies():
    names = startup.needed(["tinyrnn"])
    assert {"tinyrnn", "numpy", "rich", "pygments"} <= names
    assert "hypothesis" not in names  # an extra


def test_serving_a_model_of_keras(tmp_path, capsys):
    out = ["--out", str(tmp_path), "--rounds", "1", "--seconds", "0.01"]
    rows = serving.main([*out, "--peers", "Keras on JAX,ONNX Runtime"])["rows"]
    assert [row["name"] for row in rows] == ["tinyrnn", "Keras on JAX", "ONNX Runtime"]
    for row in rows:
        (run,) = row["runs"]
        assert 0 < run["import"] < 60
        assert 0 < run["one row"] <= run["first prediction"]
        assert 20 < run["memory after import"] <= run["memory"]
    serving.main(["--markdown", str(tmp_path / "serving.json")])
    assert "| tinyrnn |" in capsys.readouterr().out
