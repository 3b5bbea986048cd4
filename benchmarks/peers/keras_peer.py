"""Keras, on the backend that the environment names."""

from __future__ import annotations

import keras

from benchmarks.models import Model
from benchmarks.peers.keras_style import KerasStyleProgram


def start(threads: int) -> str:
    """Set the threads. JAX has no call for that and heeds what the environment says there is."""
    if keras.backend.backend() == "jax":
        return f"JAX takes its number of threads from NPROC={threads}, which it documents nowhere"
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    return ""


class Program(KerasStyleProgram):
    """A model of Keras."""

    library = keras

    def __init__(self, model: Model):
        keras.backend.clear_session()  # names start over, and what earlier models compiled is let go
        super().__init__(model)
