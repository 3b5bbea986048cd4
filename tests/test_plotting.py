"""What is drawn, read from the figures; the curves of a training are tested with the callbacks."""

import numpy as np
import pytest

from tinyrnn.plotting import plot_bars, plot_forecast, plot_gradient_norms

HOURS = np.arange("2012-01-01T00", "2012-01-01T04", dtype="datetime64[h]")


def legend(box):
    return [text.get_text() for text in box.get_texts()]


def test_forecasts_are_drawn_with_the_truth_and_their_errors(tmp_path):
    truth, forecasts = [1.0, 2.0, 3.0, 2.0], {"a": [1.0, 2.0, 3.0, 4.0], "b": np.zeros(4)}
    figure = plot_forecast(truth, forecasts, HOURS, tmp_path / "a.png", "load (kW)")
    series, errors = figure.axes
    drawn = [list(line.get_ydata()) for line in series.get_lines()]
    assert drawn == [truth, forecasts["a"], [0, 0, 0, 0]]
    assert [list(line.get_ydata()) for line in errors.get_lines()][:2] == [[0, 0, 0, 2], [-1, -2, -3, -2]]
    assert legend(figure.legends[0]) == ["truth", "a, RMSE 1", f"b, RMSE {np.sqrt(4.5):.4g}"]
    assert (series.get_lines()[0].get_xdata() == HOURS).all()
    assert (series.get_ylabel(), errors.get_ylabel()) == ("load (kW)", "forecast - truth")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert plot_forecast(truth, forecasts).axes[0].get_lines()[0].get_xdata().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("truth", "forecasts", "times", "message"),
    [
        ([1.0, 2.0], {}, None, "forecasts: expected at least one"),
        ([1.0, 2.0], {"a": [[1.0], [2.0]]}, None, r"a: expected shape \(2,\), that of truth, found \(2, 1\)"),
        ([1.0, 2.0], {"a": [1.0, 2.0]}, HOURS, r"times: expected shape \(2,\), that of truth, found \(4,\)"),
        ([[1.0]], {"a": [[1.0]]}, None, r"truth: expected a series of shape \(T,\), found shape \(1, 1\)"),
    ],
)
def test_forecasts_that_do_not_fit(truth, forecasts, times, message):
    with pytest.raises(ValueError, match=message):
        plot_forecast(truth, forecasts, times)


def test_bars_stand_in_groups(tmp_path):
    figure = plot_bars({"LSTM": {"NOUN": 0.9, "X": 0.5}, "GRU": {"NOUN": 0.8}}, tmp_path / "bars.svg")
    (axes,) = figure.axes
    lstm, gru = ([(bar.get_x(), bar.get_height()) for bar in bars] for bars in axes.containers)
    assert [height for _, height in lstm] == [0.9, 0.5]
    assert gru[0][1] == 0.8
    assert np.isnan(gru[1][1])
    assert gru[0][0] == pytest.approx(lstm[0][0] + 0.42)  # beside each other
    assert [label.get_text() for label in axes.get_xticklabels()] == ["NOUN", "X"]
    assert legend(figure.legends[0]) == ["LSTM", "GRU"]
    assert (tmp_path / "bars.svg").read_text().startswith("<?xml")
    for nothing in ({}, {"LSTM": {}}):
        with pytest.raises(ValueError, match="series: nothing to draw"):
            plot_bars(nothing)


def test_gradient_norms_against_time(tmp_path):
    figure = plot_gradient_norms({"a/h": [1e-3, 0.0, 1.0], "a/c": [np.nan, 2.0, 3.0]}, tmp_path / "norms.png")
    (axes,) = figure.axes
    h, c = axes.get_lines()
    assert h.get_xdata().tolist() == [1, 2, 3]
    np.testing.assert_array_equal(h.get_ydata(), [1e-3, np.nan, 1.0])
    np.testing.assert_array_equal(c.get_ydata(), [np.nan, 2.0, 3.0])
    assert axes.get_yscale() == "log"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time step", "gradient norm")
    assert legend(axes.get_legend()) == ["a/h", "a/c"]
    assert (tmp_path / "norms.png").read_bytes()[:4] == b"\x89PNG"


def test_gradient_norms_of_several_models_have_a_panel_each():
    figure = plot_gradient_norms(
        {"tanh": {"h": [1.0, 2.0]}, "relu": {"h": [3.0]}}, quantity="share", steps="update"
    )
    tanh, relu = figure.axes
    assert (tanh.get_title(), relu.get_title()) == ("tanh", "relu")
    assert (relu.get_xlabel(), relu.get_ylabel()) == ("update", "share")
    assert relu.get_lines()[0].get_marker() == "o"  # a single point has no line


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ({}, "norms: expected a dictionary of arrays$"),
        ({"a": {"h": [1.0]}, "b": {}}, "norms: expected a dictionary of arrays for 'b'"),
        ({"a": {"h": [1.0]}, "b": [1.0]}, "norms: expected a dictionary of arrays for 'b'"),
        ({"h": [[1.0]]}, r"h: expected shape \(time,\), found \(1, 1\)"),
    ],
)
def test_gradient_norms_that_cannot_be_drawn(norms, message):
    with pytest.raises(ValueError, match=message):
        plot_gradient_norms(norms)
