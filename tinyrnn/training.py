"""compile, fit, evaluate, predict: what makes a layer with losses and an optimizer a model to train."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from traceback import clear_frames
from typing import Any

import numpy as np

from tinyrnn import losses, metrics, optimizers
from tinyrnn.autograd import Tensor, no_grad
from tinyrnn.backend import dropped_checks, new_generator, on_device, to_host
from tinyrnn.blas import quiet_blas
from tinyrnn.callbacks import CallbackList, History
from tinyrnn.callbacks.logs import Logs, as_logs
from tinyrnn.compiling import Average, CompiledLoss, CompiledMetrics, distinct, outputs_of
from tinyrnn.data import Batches, ClassWeight, as_batch, make_batches, split, unpack
from tinyrnn.layers.base import penalties, warn_old_spelling
from tinyrnn.naming import custom_object, serialize, warn_user
from tinyrnn.nest import leaves, map_leaves
from tinyrnn.ops import to_array
from tinyrnn.recurrent.gpu import release
from tinyrnn.resuming import go_on

__all__ = ["Trainer"]


class Trainer:
    """The part of a model that trains; to be mixed into a `Layer`.

    It uses of the layer: the call, with its argument `training`; `trainable_weights`; what the last call
    adds to the loss; `output_names`.

    Attributes
    ----------
    optimizer : Optimizer
    history : History
        Of the last fit.
    stop_training : bool
        Set by callbacks to end fit after the current batch.
    in_training : tuple, optional
        The data and the callbacks of the fit that is going on.
    resume_from : dict, optional
        Set by a callback at the beginning of fit that has found where an earlier one has stopped, see
        `tinyrnn.resuming`.
    """

    output_names: list[str] | None = None
    optimizer: optimizers.Optimizer | None = None
    history: History | None = None
    stop_training = False
    in_training: tuple | None = None
    resume_from: dict[str, Any] | None = None
    compiled = False
    _compiled_with: dict[str, Any] | None = None
    _compiled_loss: CompiledLoss | None = None
    _compiled_metrics: CompiledMetrics | None = None
    _loss_average: Average | None = None
    _generator: np.random.Generator | None = None  # shuffles; part of a saved model, as dropout's are
    _to_train: list | None = None  # the weights that the optimizer was built for
    _warned_missing = False  # weights without a gradient
    _warned_loss = False  # nan or infinite

    # --- settings -----------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Say how to train.

        Parameters
        ----------
        optimizer : str or Optimizer
        loss : str, Loss, function ``fn(y_true, y_pred)``, or a list or dictionary of them
            For several outputs one for all, or one for each, in a list or by the names of the outputs; None
            for an output without a loss.
        loss_weights : float, list or dict, optional
            Of the outputs' losses in their sum.
        metrics : list or dict, optional
            Names, `Metric` objects or functions. Of several outputs each has an entry, one metric or a list.
            ``"accuracy"`` is the one that fits the shapes.
        weighted_metrics : list or dict, optional
            The same, with sample weights and class weights taken into account.
        run_eagerly, steps_per_execution, jit_compile, auto_scale_loss
            Accepted, and without effect: nothing is compiled here.

        Raises
        ------
        ValueError
            For an unknown name, with the nearest known one. The model then stays as it was.

        Notes
        -----
        Which weights are trained is settled by the first step after `compile`: after a change of
        `trainable` compile again.
        """
        found, names = optimizers.get(optimizer), distinct(self.output_names)
        compiled_loss = None if loss is None else CompiledLoss(loss, loss_weights, names)
        compiled_metrics = CompiledMetrics(metrics, weighted_metrics, names)
        self.optimizer, self.loss = found, loss
        self._generator = self._generator or new_generator()
        self._compiled_loss, self._compiled_metrics = compiled_loss, compiled_metrics
        self._loss_average = Average("loss")
        self._to_train = None
        self._warned_missing = False
        self._compiled_with = {
            "optimizer": found,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        self.compiled = True

    def get_compile_config(self) -> dict[str, Any]:
        """Return the arguments of `compile` in plain Python values; empty before."""
        return serialize(self._compiled_with or {})

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with what `get_compile_config` returned."""
        find = {"loss": losses.get, "metrics": metrics.get, "weighted_metrics": metrics.get}
        self.compile(**{key: _revive(value, find.get(key)) for key, value in config.items()})

    def _check_compiled(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(f"{self.name}.{method}: call compile(optimizer, loss) first")

    # --- metrics ------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[Any]:
        """What is averaged and counted: the loss, the losses of the outputs, the metrics."""
        if not self.compiled:
            return []
        averages = self._compiled_loss.averages if self._compiled_loss else []
        counted = [metric for metric, _, _ in (self._compiled_metrics.entries or {}).values()]
        return [self._loss_average, *averages, *counted]

    @property
    def metrics_names(self) -> list[str]:
        """The names that go with the list that `evaluate` returns; before the first batch ``["loss"]``."""
        return list(self.get_metrics_result()) if self.compiled else []

    def get_metrics_result(self) -> dict[str, Any]:
        """Return the values so far: ``loss``, ``<output>_loss`` if there are several, the metrics."""
        averages = [self._loss_average, *(self._compiled_loss.averages if self._compiled_loss else [])]
        return as_logs({a.name: a.result() for a in averages} | self._compiled_metrics.results())

    def reset_metrics(self) -> None:
        """Start counting anew; fit does before every epoch."""
        for metric in self.metrics:
            metric.reset_state()

    # --- one batch ----------------------------------------------------------------------------------------

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """Return the loss of a batch, a scalar. May be overridden.

        It is the weighted sum of the compiled losses and of what the layers add: regularization of weights
        and activities, `add_loss`.

        Raises
        ------
        ValueError
            If there is no loss at all, or the targets do not fit the outputs.
        """
        terms = []
        if self._compiled_loss is not None:
            terms = self._compiled_loss(y, self._outputs(y_pred), sample_weight)
        weights = self._to_train if training and self._to_train is not None else self.trainable_weights
        terms += penalties(weights) + self._call_losses
        if not terms:
            raise ValueError(f"{self.name}: no loss to compute; give compile(loss=...) one")
        return sum(terms[1:], terms[0])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Take a batch into account and return all values so far. May be overridden."""
        if self._compiled_metrics.wanted:
            self._compiled_metrics.update_state(y, self._outputs(y_pred), sample_weight)
        return self.get_metrics_result()

    def train_step(self, data: tuple) -> dict[str, Any]:
        """Train on one batch ``(x, y, sample_weight)``; return the logs. May be overridden.

        On a GPU nothing here should read a number, so that the next step can be prepared meanwhile: what is
        returned may be there, and is fetched by who reads the logs.
        """
        x, y, sample_weight = unpack(data, "data")
        y_pred = self(x, training=True)
        if isinstance(sample_weight, ClassWeight):
            sample_weight = sample_weight(y, y_pred)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
        self._call_losses = []  # they hold the graph of this step
        self._minimize(loss)
        return self._log(loss, x, y, y_pred, sample_weight)

    def test_step(self, data: tuple) -> dict[str, Any]:
        """Evaluate one batch ``(x, y, sample_weight)``; return the logs. May be overridden."""
        x, y, sample_weight = unpack(data, "data")
        y_pred = self(x, training=False)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=False)
        return self._log(loss, x, y, y_pred, sample_weight)

    def predict_step(self, data: tuple) -> Any:
        """Return the outputs for one batch. May be overridden."""
        return self(unpack(data, "data")[0], training=False)

    def _outputs(self, y_pred: Any) -> dict[str, Tensor]:
        return outputs_of(y_pred, distinct(self.output_names))

    def _log(self, loss: Tensor, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> dict[str, Any]:
        one = x if hasattr(x, "shape") else next(a for a in leaves(x) if a is not None)
        self._loss_average.update_state(loss, len(one))
        with no_grad():
            return self.compute_metrics(x, y, y_pred, sample_weight)

    def _minimize(self, loss: Tensor) -> None:
        """Change the weights so that the loss falls."""
        weights = self._weights_to_train()
        for w in weights:
            w.grad = None
        if loss.requires_grad:
            self.optimizer.scale_loss(loss).backward()
        pairs = [(w.grad, w) for w in weights]
        if self._warned_missing:  # the optimizer would say so in every step
            pairs = [pair for pair in pairs if pair[0] is not None]
        self.optimizer.apply_gradients(pairs)
        for g, _ in pairs:
            if g is None:
                self._warned_missing = True

    def _weights_to_train(self) -> list:
        if self._to_train is None:
            self._to_train = self.trainable_weights
            self.optimizer.build(self._to_train)
        return self._to_train

    def _check_to_train(self) -> None:
        """Refuse to go on after a change of what is trainable: the optimizer's state is for other weights."""
        if self._to_train is None:
            return
        now, before = ({id(w): w for w in weights} for weights in (self.trainable_weights, self._to_train))
        changed = [w.path for i, w in (now | before).items() if (i in now) != (i in before)]
        if changed:
            raise ValueError(
                f"{self.name}: what is trainable has changed since compile() ({', '.join(changed)}): "
                "compile again for that to take effect"
            )

    # --- many batches -------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Collection[int] = 1,
    ) -> History:
        """Train.

        Parameters
        ----------
        x : array, list or dict of arrays, PyDataset, generator, or another iterable of batches
            Arrays have the samples along their first axis; a dictionary goes by the names of the inputs.
            Generators yield ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``; when one ends, training does.
        y : array, or list or dict of arrays by output, optional
        batch_size : int, optional
            32 by default. The last batch of an epoch may be smaller.
        epochs : int
            The epoch to end with: of epochs 3 to 5, two are run with ``initial_epoch=3, epochs=5``.
        verbose : {"auto", 0, 1, 2}
            Nothing, a bar ("auto" is the same), or a line for each epoch.
        callbacks : Callback or list of them, optional
        validation_split : float
            Keep back this share of the samples, the last ones, to validate on.
        validation_data : tuple ``(x, y)`` or ``(x, y, sample_weight)``, PyDataset or generator, optional
            To validate on after each epoch; goes before `validation_split`.
        shuffle : bool or "batch"
            Draw a new order of the samples (of a PyDataset: of the batches) in each epoch; "batch": only
            within the batches.
        class_weight : dict of int to float, optional
            Weights of the samples, or of the tokens of sequences, by their class; 1 for classes left out.
        sample_weight : array, or list or dict of arrays by output, optional
            ``(samples,)``, or one for each value of the loss (``(samples, time)``). The loss of a batch is
            the sum of the weighted losses divided by their number, not by the sum of the weights.
        initial_epoch : int
            The epoch to begin with, counted from 0.
        steps_per_epoch : int, optional
            Batches in an epoch; the next one goes on with the data where this one stopped.
        validation_steps, validation_batch_size : int, optional
            The same for validation.
        validation_freq : int or list of int
            Validate every so many epochs, or after these (counted from 1).

        Returns
        -------
        History
            Its `history` holds the loss and the metrics of every epoch, ``val_...`` those of validation. The
            loss is the mean over the batches, weighted by their number of samples.

        Raises
        ------
        ValueError
            For data that are empty, of different numbers of samples, or do not fit the model; for
            `class_weight` beside `sample_weight`; before `compile`.
        """
        self._check_compiled("fit")
        self._check_to_train()
        if validation_data is None and validation_split:
            (x, y, sample_weight), validation_data = split(x, y, sample_weight, validation_split)
        batches = make_batches(
            x,
            y,
            sample_weight,
            class_weight=class_weight,
            batch_size=batch_size,
            steps=steps_per_epoch,
            shuffle=shuffle,
            generator=self._generator,
        )
        validation = self._validation(validation_data, validation_batch_size or batch_size, validation_steps)
        is_due = _when(validation_freq)
        self._build_for(batches.peek())
        callbacks = self._callback_list(callbacks, verbose, batches, epochs=epochs, add_history=True)
        self.stop_training = self._warned_loss = False
        self.in_training, self.resume_from = (batches, callbacks), None
        try:
            with quiet_blas, dropped_checks, closing(callbacks):
                callbacks.on_train_begin()
                if self.resume_from is not None:
                    initial_epoch = self.resume_from["epoch"]
                run = range(initial_epoch, epochs)
                logs = self._train_epochs(run, batches, validation, is_due, callbacks)
                callbacks.on_train_end(logs)
        finally:
            self.in_training = self.resume_from = None
        return self.history

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the metrics on data, without training.

        Parameters
        ----------
        x, y, batch_size, verbose, sample_weight, callbacks
            As in `fit`.
        steps : int, optional
            Stop after so many batches.
        return_dict : bool
            Return a dictionary.

        Returns
        -------
        float, list of float, or dict
            The loss; with metrics or several outputs a list in the order of `metrics_names`.

        Raises
        ------
        ValueError
            As `fit`.
        """
        self._check_compiled("evaluate")
        batches = make_batches(x, y, sample_weight, batch_size=batch_size, steps=steps)
        callbacks = self._callback_list(callbacks, verbose, batches)
        with quiet_blas, dropped_checks, closing(callbacks):
            return _returned(self._test_epoch(batches, callbacks), return_dict)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """Return the outputs for all samples.

        Parameters
        ----------
        x, batch_size, verbose, callbacks
            As in `fit`; targets that a generator yields are ignored.
        steps : int, optional
            Stop after so many batches.

        Returns
        -------
        numpy.ndarray, or list or dict of them
            The batches joined along the first axis.

        Raises
        ------
        ValueError
            As `fit`; and if the outputs of the batches differ in another axis than the first.
        """
        batches = make_batches(x, batch_size=batch_size, steps=steps)
        callbacks = self._callback_list(callbacks, verbose, batches)
        parts = []
        with quiet_blas, dropped_checks, closing(callbacks):
            callbacks.on_predict_begin()
            for step, data in batches.epoch():
                callbacks.on_predict_batch_begin(step)
                parts.append(self._predict(data))
                callbacks.on_predict_batch_end(step, {"outputs": parts[-1]})
            callbacks.on_predict_end()
        return _join(parts)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Make one step with one batch; return its loss and metrics, as `evaluate` does."""
        self._check_compiled("train_on_batch")
        self._check_to_train()
        data = as_batch((x, y, sample_weight))
        if class_weight is not None:
            data = ClassWeight(class_weight).attach(data)
        self.reset_metrics()
        return _returned(self._run(self.train_step, data), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Return the loss and the metrics of one batch, as `evaluate` does."""
        self._check_compiled("test_on_batch")
        data = as_batch((x, y, sample_weight))
        self.reset_metrics()
        with no_grad():
            return _returned(self._run(self.test_step, data), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Return the outputs for one batch, as `predict` does."""
        return self._predict(as_batch((x,)))

    # --- what they share ----------------------------------------------------------------------------------

    def _callback_list(
        self, callbacks: Any, verbose: Any, batches: Batches, epochs: int = 1, add_history: bool = False
    ) -> CallbackList:
        if verbose not in ("auto", 0, 1, 2):
            raise ValueError(f"verbose: expected 'auto', 0, 1 or 2, found {verbose!r}")
        if isinstance(callbacks, CallbackList):
            return callbacks
        params = {"verbose": verbose, "epochs": epochs, "steps": batches.num_batches}
        return CallbackList(callbacks, add_history, add_progbar=verbose != 0, model=self, **params)

    def _validation(self, data: Any, batch_size: int | None, steps: int | None) -> Batches | None:
        if data is None:
            return None
        if isinstance(data, list):
            warn_old_spelling("validation_data=[x, y]", "validation_data=(x, y)")
        if hasattr(data, "__array__"):
            raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight), found one array")
        x, y, sample_weight = unpack(data, "validation_data")
        return make_batches(x, y, sample_weight, batch_size=batch_size, steps=steps)

    def _build_for(self, data: tuple) -> None:
        """Make the weights if there are none yet, so that callbacks find a whole model at the beginning."""
        if not self.built:
            self._predict(data)
            getattr(self, "reset_states", lambda: None)()

    def _train_epochs(
        self,
        epochs: Iterable[int],
        batches: Batches,
        validation: Batches | None,
        is_due: Callable[[int], bool],
        callbacks: CallbackList,
    ) -> dict[str, Any]:
        logs: dict[str, Any] = {}
        steps_before = self.optimizer.iterations
        if self.resume_from is not None and not self.resume_from["batch"]:
            go_on(self, self.resume_from)
        try:
            for epoch in epochs:
                if self.stop_training:
                    break
                if batches.peek() is None:
                    warn_user(f"x: the data have ended before epoch {epoch + 1}")
                    break
                logs = self._train_epoch(epoch, batches, callbacks)
                if validation is not None and is_due(epoch):
                    found = self._test_epoch(validation, callbacks)
                    logs |= {f"val_{key}": value for key, value in found.items()}
                callbacks.on_epoch_end(epoch, logs)
        finally:
            if self.optimizer.iterations > steps_before:
                self.optimizer.finalize_variable_values(self._weights_to_train())
        return logs

    def _train_epoch(self, epoch: int, batches: Batches, callbacks: CallbackList) -> dict[str, Any]:
        self.reset_metrics()
        callbacks.on_epoch_begin(epoch)
        first, logs = self._go_on_in(epoch)
        for step, data in batches.epoch(first):
            callbacks.on_train_batch_begin(step)
            logs = self._run(self.train_step, data)
            self._watch_loss(logs, epoch, step)
            callbacks.on_train_batch_end(step, logs)
            if self.stop_training:
                break
        logs = dict(logs)
        self._watch_loss(logs, epoch)
        return logs

    def _go_on_in(self, epoch: int) -> tuple[int, dict[str, Any]]:
        """Return the first batch of an epoch, and the logs so far: where an earlier fit has stopped in it."""
        found = self.resume_from
        if found is None or not found["batch"] or found["epoch"] != epoch:
            return 0, {}
        go_on(self, found)
        return found["batch"], self.get_metrics_result()

    def _watch_loss(self, logs: dict[str, Any], epoch: int, step: int | None = None) -> None:
        """Warn once of a loss that is no number; on a GPU when the epoch ends and it is fetched anyway."""
        if self._warned_loss or isinstance(logs, Logs):
            return
        loss = logs.get("loss", 0.0)
        if not math.isfinite(loss):
            self._warned_loss = True
            when = f"in epoch {epoch + 1}" if step is None else f"at batch {step + 1} of epoch {epoch + 1}"
            warn_user(
                f"loss is {loss} {when}: a lower learning rate or clipnorm=1.0 may help, "
                "unless the data hold nan"
            )

    def _test_epoch(self, batches: Batches, callbacks: CallbackList) -> dict[str, Any]:
        self.reset_metrics()
        batches.rewind()
        callbacks.on_test_begin()
        logs: dict[str, Any] = {}
        for step, data in batches.epoch():
            callbacks.on_test_batch_begin(step)
            with no_grad():
                logs = self._run(self.test_step, data)
            callbacks.on_test_batch_end(step, logs)
        callbacks.on_test_end(logs)
        return logs

    def _predict(self, data: tuple) -> Any:
        with no_grad():
            outputs = self._run(self.predict_step, data)
            return map_leaves(lambda y: to_host(to_array(y)), outputs)

    def _run(self, step: Callable[[tuple], Any], data: tuple) -> Any:
        """Return what a step makes of a batch, logs so that they can be read."""
        try:
            found = step(data)
        except MemoryError as error:
            if not any(on_device(w.data) for w in self.weights):
                raise
            self._give_back(error)
            shapes = ", ".join(str(tuple(a.shape)) for a in leaves(data) if hasattr(a, "shape"))
            raise MemoryError(
                f"{self.name}.{step.__name__}: the memory of the GPU does not suffice for a batch of shapes "
                f"{shapes} ({error}): a smaller batch_size may help, or shorter sequences"
            ) from error
        return as_logs(found) if isinstance(found, Mapping) and step != self.predict_step else found

    def _give_back(self, error: MemoryError) -> None:
        """Let go of what the step that failed has taken: its graph, also where the traceback holds it."""
        clear_frames(error.__traceback__)
        release()
        self._call_losses = []
        for w in self.trainable_weights:
            w.grad = None


# --- helpers ----------------------------------------------------------------------------------------------


def _revive(nest: Any, find: Callable | None) -> Any:
    """Return a nest with objects in the place of their configurations."""
    if find is None:
        return nest
    if isinstance(nest, str):
        return custom_object(nest) or nest
    if isinstance(nest, Mapping):
        is_config = "class_name" in nest
        return find(nest) if is_config else {key: _revive(value, find) for key, value in nest.items()}
    return [_revive(value, find) for value in nest] if isinstance(nest, list | tuple) else nest


def _when(frequency: int | Collection[int]) -> Callable[[int], bool]:
    """Return whether to validate after an epoch, as a function of its number, counted from 0."""
    if isinstance(frequency, Collection) and not isinstance(frequency, str):
        return lambda epoch: epoch + 1 in frequency
    if not isinstance(frequency, int) or frequency < 1:
        raise ValueError(f"validation_freq: expected a number from 1 on, or a list, found {frequency!r}")
    return lambda epoch: (epoch + 1) % frequency == 0


def _returned(logs: dict[str, Any], as_dict: bool) -> Any:
    """Return logs as a user sees them: a sorted dictionary, a list, or the loss alone."""
    if as_dict:
        return dict(sorted(logs.items()))
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def _join(parts: list) -> Any:
    """Return the outputs of all batches, nests of arrays, as one nest of longer arrays."""
    first = parts[0]
    if isinstance(first, Mapping):
        return {key: _join([part[key] for part in parts]) for key in first}
    if isinstance(first, list | tuple):
        return [_join(list(several)) for several in zip(*parts, strict=True)]
    shapes = sorted({part.shape[1:] for part in parts})
    if len(shapes) > 1:
        raise ValueError(
            f"predict: outputs of {shapes[0]} and {shapes[1]} for each sample cannot be joined; "
            "pad the inputs to one length, or use predict_on_batch"
        )
    return np.concatenate(parts)
