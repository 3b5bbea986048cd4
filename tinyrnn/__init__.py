"""tinyrnn: recurrent networks from scratch in NumPy, with Keras's API and Keras's numbers."""

from tinyrnn import (
    activations,
    callbacks,
    constraints,
    datasets,
    decoding,
    initializers,
    inspection,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    preprocessing,
    recurrent,
    regularizers,
    saving,
    utils,
)
from tinyrnn.autograd import Tensor, grad, no_grad
from tinyrnn.backend import DeviceError, floatx, get_device, set_device, set_floatx
from tinyrnn.gradcheck import gradcheck
from tinyrnn.layers import Input
from tinyrnn.models import Model, Sequential, load_model
from tinyrnn.saving import ModelFileError
from tinyrnn.utils import set_random_seed
from tinyrnn.version import __version__

__all__ = [
    "DeviceError",
    "Input",
    "Model",
    "ModelFileError",
    "Sequential",
    "Tensor",
    "__version__",
    "activations",
    "callbacks",
    "constraints",
    "datasets",
    "decoding",
    "floatx",
    "get_device",
    "grad",
    "gradcheck",
    "initializers",
    "inspection",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "models",
    "no_grad",
    "ops",
    "optimizers",
    "preprocessing",
    "recurrent",
    "regularizers",
    "saving",
    "set_device",
    "set_floatx",
    "set_random_seed",
    "utils",
]
