"""The benchmarks, scaled down: all sides compute the same, and what is made of their times is right."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as command_line
from benchmarks import gpu, models, plots, protocol, report, sections, serving, startup
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
    peer = protocol.Peer("a_peer", (), tolerance=0.02)
    check_same({"loss": [2.0001], "fall": [0.01, 0.0203]}, expected, peer)
    for wrong in ({"loss": [2.001]}, {"fall": [0.01, 0.021]}, {"fall": [math.nan, 0.02]}):
        with pytest.raises(PeerError, match=next(iter(wrong))):
            check_same(expected | wrong, expected, peer)
    check_same({"loss": [2.001]}, {"loss": [2.0]}, replace(peer, rounding=0.001))


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


# --- on the GPU ---------------------------------------------------------------------------------------------

STAND_IN = """
import sys
import cupy_standin
sys.modules.update(cupy_standin.modules())
"""


def test_only_sides_on_the_gpu_see_one(monkeypatch):
    for name, value in {"CUDA_VISIBLE_DEVICES": "1", "TINYRNN_DEVICE": "gpu", "CUPY_TF32": "1"}.items():
        monkeypatch.setenv(name, value)
    found = {name: protocol.environment(peer, 1) for name, peer in PEERS.items()}
    on_gpu = {name for name, each in found.items() if each["CUDA_VISIBLE_DEVICES"] == "1"}
    assert on_gpu == {name for name, each in found.items() if each["TINYRNN_DEVICE"] == "gpu"}
    assert on_gpu == set(sections.ON_GPU)
    assert {found[name]["CUDA_VISIBLE_DEVICES"] for name in found.keys() - on_gpu} == {""}
    assert not any("CUPY_TF32" in each for each in found.values())
    assert (
        found["PyTorch on the GPU"]["BENCHMARKS_TF32"] == "0" != found["PyTorch with TF32"]["BENCHMARKS_TF32"]
    )


def test_a_side_that_cannot_start_says_why_and_is_not_started_again(monkeypatch, tmp_path):
    blind = protocol.Peer("tinyrnn_peer", ("tinyrnn",), {"CUDA_VISIBLE_DEVICES": ""}, device="gpu")
    monkeypatch.setitem(protocol.PEERS, "blind", blind)
    worker = Worker("blind", 1, tmp_path / "log")
    for request in ("describe", "forget"):
        with pytest.raises(PeerError, match=r"^DeviceError: .*(CuPy|GPU)"):
            worker.ask(request)
        assert worker._process is None


def test_a_side_on_the_gpu_starts_again_after_an_error(monkeypatch, tmp_path):
    monkeypatch.setitem(protocol.PEERS, "side", protocol.Peer("blas_peer", ("numpy",), device="gpu"))
    worker = Worker("side", 1, tmp_path / "log")
    try:
        for _ in range(2):
            with pytest.raises(PeerError, match="KeyError: 7"):
                worker.ask("run", task=7)
            assert worker._process is None
        assert worker.ask("describe") == ""
    finally:
        worker.close()


def gpu_rows():
    """Return rows of both sections: one of a whole model, some of sizes."""
    sides = {"tinyrnn on the GPU": [0.002], "PyTorch on the GPU": [0.003], "PyTorch with TF32": [0.001]}
    cudnn = [
        row("small", {"target": 1.0}, **sides),
        row("large", {"target": 0.8}, {"PyTorch on the GPU": "no"}),
    ]
    crossover = [
        row(name, {"action": action, **info}, tinyrnn=[cpu], **{"tinyrnn on the GPU": [gpu]})
        for name, info, cpu in [("a model", {}, 0.001), ("units 16", {"axis": "units", "value": 16}, 0.004)]
        for action, gpu in [("fit", 0.002), ("predict", 0.001)]
    ]
    return {"cudnn": cudnn, "crossover": crossover}


def test_tables_of_the_gpu():
    cudnn, crossover = report.tables(gpu_rows())
    assert cudnn.columns[1:4] == ["tinyrnn on the GPU", "PyTorch on the GPU", "PyTorch / tinyrnn"]
    assert cudnn.rows[0] == ["small", "2.00 ±0%", "3.00 ±0%", "1.50", "1.00", "1.00 ±0%"]
    assert cudnn.rows[1] == ["large", *["not measured"] * 3, "0.800", "not measured"]
    assert cudnn.notes == ["PyTorch on the GPU: no (large)"]
    assert crossover.rows == [
        ["a model", "1.00 ±0%", "2.00 ±0%", "0.500", "1.00 ±0%", "1.00 ±0%", "1.00"],
        ["units 16", "4.00 ±0%", "2.00 ±0%", "2.00", "4.00 ±0%", "1.00 ±0%", "4.00"],
    ]


def test_targets_go_by_the_widest_recurrent_layer():
    assert [sections.target(model) for model in MODELS] == [1.0] * 10 + [0.8]


def test_the_plot_shows_from_which_size_on_the_gpu_pays():
    found = gpu_rows()
    panels = plots.draw_crossover(found).axes
    (of_units,) = [axes for axes in panels if axes.get_xlabel() == "units"]
    curves = {line.get_label(): list(line.get_ydata()) for line in of_units.lines}
    assert curves == {"training step": [2.0], "prediction": [4.0], "as fast as the CPU": [1.0, 1.0]}
    for each in found["crossover"]:
        del each["seconds"]["tinyrnn on the GPU"]
    assert plots.draw_crossover(found) is None


def test_the_command_of_the_gpu_runs_what_is_here(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sections, "SIZES", {"units": (16,)})
    monkeypatch.setattr(plots, "SIZES", sections.SIZES)
    options = ["--tiny", "--models", "5", "--threads", "1", "--rounds", "1", "--seconds", "0.001"]
    results = gpu.main([*options, "--out", str(tmp_path)])
    assert gpu.measured(results)
    assert results == json.loads((tmp_path / "gpu.json").read_text())
    printed = capsys.readouterr().out
    assert "Traceback" not in printed + (tmp_path / "peers.log").read_text()
    found = results["sections"]
    assert [each["name"] for each in found["crossover"]] == [MODELS[4].title] * 2 + ["units 16"] * 2
    assert all(each["seconds"]["tinyrnn"] for each in found["crossover"])
    rows = [*found["cudnn"], *found["crossover"]]
    for side in sections.ON_GPU:  # each was timed, or the header says why not
        reasons = {each["failed"][side] for each in rows if side in each["failed"]}
        assert all(f"{side}: {reason}" in results["header"] for reason in reasons)
        assert len(reasons) <= 1
        assert reasons or any(side in each["seconds"] for each in rows)
    gpu.main(["--markdown", str(tmp_path / "gpu.json")])
    assert f"| {MODELS[4].title} | " in capsys.readouterr().out


def test_the_command_of_the_gpu_measures_nothing_where_nothing_can_run(tmp_path, monkeypatch, capsys):
    options = ["--sections", "cudnn", "--peers", "", "--models", "5", "--out", str(tmp_path)]
    monkeypatch.setattr(gpu, "gpus", lambda: ["GPU: install tinyrnn[gpu]"])
    assert not gpu.measured(gpu.main(options))
    assert "GPU: install tinyrnn[gpu]" in capsys.readouterr().out


def test_the_side_on_the_gpu_computes_the_same_on_a_stand_in(tmp_path, monkeypatch):
    (tmp_path / "cupy.py").write_text(STAND_IN)
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent)])
    side = protocol.Peer("tinyrnn_peer", ("tinyrnn",), {"PYTHONPATH": paths}, device="gpu")
    monkeypatch.setitem(protocol.PEERS, "stand-in", side)
    workers = {name: Worker(name, 1, tmp_path / "log") for name in ("tinyrnn", "stand-in")}
    model = models.shrunk(MODELS[0])
    try:
        assert "kernel 'gpu'" in workers["stand-in"].ask("describe")
        for action in ("fit", "predict"):
            entries = [Entry(name, name, action, model) for name in workers]
            times = race(workers, entries, QUICKLY, same=True)
            assert times["failed"] == {}
            assert times["seconds"].keys() == workers.keys()
    finally:
        for worker in workers.values():
            worker.close()


def test_the_tables_of_the_readme_have_the_rows_that_are_measured():
    text = (protocol.ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    settings = sections.Settings(MODELS, sections.ON_GPU, QUICKLY)
    for name, races in sections.GPU_SECTIONS.items():
        rows = [row(each.name, each.info) for each in races(settings)]
        (table,) = report.tables({name: rows})
        header, *lines = table.to_markdown().split("\n\n")[2].splitlines()
        assert header in text
        assert all(line.split(" | ")[0] in text for line in lines)
