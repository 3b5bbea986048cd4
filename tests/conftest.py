"""What every test shares: the oracle's settings, and one profile for drawing cases."""

import os

# Keras reads these when it is first imported.
os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_X64"] = "1"

import pytest
from hypothesis import HealthCheck, Phase, settings
from older_keras import skip_what_has_changed

import tinyrnn

settings.register_profile(
    "tinyrnn",
    max_examples=20,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),  # shrinking a failure against Keras takes minutes
    derandomize=True,  # a red run must be the change's doing, not the dice's
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("tinyrnn")


def pytest_collection_modifyitems(items):
    skip_what_has_changed(items)


@pytest.fixture
def double():
    """Both libraries compute in float64."""
    from keras_oracle import float_type  # imports Keras: only for tests that ask for it

    with float_type("float64"):
        yield


@pytest.fixture(autouse=True)
def _fresh_state():
    """Seeds, float type and layer names start over in every test."""
    tinyrnn.set_floatx("float32")
    tinyrnn.utils.set_random_seed(0)
    yield
    tinyrnn.set_floatx("float32")
