"""A model in Keras's API: the same lines build it in tinyrnn and in Keras."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.models import GATES, Layer, Model, draw_batches, draw_weights
from benchmarks.peers import Numbers, losses_of, outputs_of


class KerasStyleProgram:
    """A model of `library`, which is tinyrnn or keras."""

    library: ModuleType

    def __init__(self, model: Model):
        self.model = model
        self.net = self._with_states() if model.states else self._stack()
        self.net.set_weights(draw_weights(model))
        optimizer = self.library.optimizers.Adam(learning_rate=1e-3, epsilon=1e-7)
        self.net.compile(optimizer, loss=model.loss)

    # --- building ---

    def _stack(self) -> Any:
        model, library = self.model, self.library
        if model.inputs == "tokens":
            entrance = library.Input((model.time,), dtype="int32")
        else:
            entrance = library.Input((model.time, model.features))
        return library.Sequential([entrance, *map(self._layer, model.layers)])

    def _with_states(self) -> Any:
        """A single recurrent layer as a model ``[x, *states] -> [y, *states]``."""
        model, Input = self.model, self.library.Input
        (layer,) = model.layers
        x = Input((model.time, model.features))
        states = [Input((layer.units,)) for _ in range(2 if layer.kind == "LSTM" else 1)]
        recurrent = self.recurrent(layer, return_state=True)
        return self.library.Model([x, *states], list(recurrent(x, initial_state=states)))

    def _layer(self, layer: Layer) -> Any:
        layers = self.library.layers
        if layer.kind == "Embedding":
            return layers.Embedding(layer.words, layer.units, **layer.options)
        if layer.kind == "RepeatVector":
            return layers.RepeatVector(self.model.time)
        if layer.kind == "Dense":
            return layers.Dense(layer.units, activation=layer.activation)
        assert layer.kind in GATES, f"unknown kind of layer: {layer.kind}"
        recurrent = self.recurrent(layer, return_sequences=layer.sequences)
        return layers.Bidirectional(recurrent) if layer.both_ways else recurrent

    def recurrent(self, layer: Layer, **options: Any) -> Any:
        """Return the recurrent layer of one direction."""
        return getattr(self.library.layers, layer.kind)(layer.units, **layer.options, **options)

    # --- what must agree ---

    def numbers(self, action: str) -> Numbers:
        """Return how training begins, or some outputs."""
        if action == "fit":
            step = self.fit(1)
            return losses_of(lambda: step().history["loss"][0])
        outputs = self.net.predict(self._one_batch(), batch_size=self.model.batch, verbose=0)
        return outputs_of(outputs[0] if self.model.states else outputs)

    # --- actions ---

    def fit(self, steps: int) -> Callable[[], Any]:
        """One epoch of so many batches."""
        x, y = draw_batches(self.model, steps)
        settings = {"batch_size": self.model.batch, "epochs": 1, "verbose": 0, "shuffle": False}
        return lambda: self.net.fit(x, y, **settings)

    def predict(self, steps: int) -> Callable[[], Any]:
        """The outputs for so many batches in one call."""
        x, _ = draw_batches(self.model, steps)
        return lambda: self.net.predict(x, batch_size=self.model.batch, verbose=0)

    def predict_one(self, steps: int) -> Callable[[], Any]:
        """The outputs for one batch, so many times."""
        batch = self.model.batch
        return self._repeated(lambda x: self.net.predict(x, batch_size=batch, verbose=0), steps)

    def predict_on_batch(self, steps: int) -> Callable[[], Any]:
        """The same without the loop over batches."""
        return self._repeated(self.net.predict_on_batch, steps)

    def call(self, steps: int) -> Callable[[], Any]:
        """The same by calling the model itself."""
        return self._repeated(self.net, steps)

    def _repeated(self, function: Callable[[Any], Any], steps: int) -> Callable[[], Any]:
        x = self._one_batch()

        def run():
            for _ in range(steps):
                function(x)

        return run

    def _one_batch(self) -> Any:
        x, _ = draw_batches(self.model, 1)
        if not self.model.states:
            return x
        return [x, *(np.zeros((len(x), self.model.layers[0].units), np.float32) for _ in self.net.inputs[1:])]
