"""PyTorch: ``torch.nn`` modules and the loop that its users write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.models import GATES, Layer, Model, draw_batches, draw_weights, input_widths
from benchmarks.peers import Numbers, losses_of, on_gpu, outputs_of

EPSILON = 1e-7
CLASSES = {"SimpleRNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
KERAS_ORDER = {"SimpleRNN": [0], "LSTM": [0, 1, 2, 3], "GRU": [1, 0, 2]}  # where torch's gates are in Keras
ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid, "softmax": lambda z: torch.softmax(z, -1)}

LOSSES = {  # of scores, before the last activation
    "binary_crossentropy": functional.binary_cross_entropy_with_logits,
    "categorical_crossentropy": lambda scores, classes: functional.cross_entropy(
        scores.flatten(0, -2), classes.flatten()
    ),
    "mean_squared_error": functional.mse_loss,
}

DEVICE = torch.device("cuda" if on_gpu() else "cpu")


def start(threads: int) -> str:
    """Set the threads; on a GPU also whether cuDNN may use TF32, as the environment says."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    note = "PyTorch runs eagerly, with the fused Adam and set_flush_denormal(True), which are faster"
    if not on_gpu():
        return note
    torch.cuda.init()  # says what is missing
    cudnn = torch.backends.cudnn
    cudnn.allow_tf32 = os.environ["BENCHMARKS_TF32"] == "1"
    versions = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}, cuDNN {cudnn.version()}"
    return f"{versions}, {'recurrent layers in' if cudnn.allow_tf32 else 'no'} TF32; {note}"


def wait() -> None:
    """Return when the GPU has done what it was asked for."""
    if on_gpu():
        torch.cuda.synchronize()


class Recurrent(nn.Module):
    """A recurrent layer that returns every step or the last ones of its directions, as in Keras."""

    def __init__(self, layer: Layer, width: int, weights: Iterator[np.ndarray]):
        super().__init__()
        self.sequences = layer.sequences
        kind = CLASSES[layer.kind]
        self.rnn = kind(width, layer.units, batch_first=True, bidirectional=layer.both_ways)
        for suffix in ("", "_reverse")[: 1 + layer.both_ways]:
            self._set_weights(layer.kind, suffix, weights)

    def _set_weights(self, kind: str, suffix: str, weights: Iterator[np.ndarray]) -> None:
        kernel, recurrent_kernel, bias = (next(weights) for _ in range(3))
        if kind == "GRU":
            bias, recurrent_bias = bias
        else:
            recurrent_bias = np.zeros_like(bias)
            getattr(self.rnn, f"bias_hh_l0{suffix}").requires_grad_(False)  # Keras has one bias: train one
        blocks = {"weight_ih": kernel.T, "weight_hh": recurrent_kernel.T,
                  "bias_ih": bias, "bias_hh": recurrent_bias}  # fmt: skip
        for name, value in blocks.items():
            gates = np.split(value, GATES[kind])
            value = np.concatenate([gates[k] for k in KERAS_ORDER[kind]])
            getattr(self.rnn, f"{name}_l0{suffix}").data.copy_(torch.from_numpy(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, T, features)`` to ``(B, T, units)`` or ``(B, units)``."""
        outputs, state = self.rnn(x)
        if self.sequences:
            return outputs
        state = state[0] if isinstance(state, tuple) else state
        return torch.cat(list(state), -1) if len(state) > 1 else state[0]


class Repeat(nn.Module):
    """``RepeatVector``."""

    def __init__(self, times: int):
        super().__init__()
        self.times = times

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(B, units)`` to ``(B, times, units)``."""
        return x[:, None].expand(-1, self.times, -1)


class Network(nn.Module):
    """The model up to the scores that the last activation is applied to."""

    def __init__(self, model: Model):
        super().__init__()
        weights = iter(draw_weights(model))
        stack: list[nn.Module] = []
        for layer, width in input_widths(model):
            if layer.kind == "Embedding":
                stack.append(nn.Embedding.from_pretrained(torch.from_numpy(next(weights)), freeze=False))
            elif layer.kind == "RepeatVector":
                stack.append(Repeat(model.time))
            elif layer.kind == "Dense":
                dense = nn.Linear(width, layer.units)
                dense.weight.data.copy_(torch.from_numpy(next(weights).T))
                dense.bias.data.copy_(torch.from_numpy(next(weights)))
                stack += [dense, nn.ReLU()] if layer.activation == "relu" else [dense]
            else:
                stack.append(Recurrent(layer, width, weights))
        self.stack = nn.Sequential(*stack)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the scores."""
        return self.stack(x)


def _keras_epsilon(optimizer: torch.optim.Adam, *_: object) -> None:
    """Make the coming step Keras's: there epsilon is added before the second moment is freed of its bias."""
    for group in optimizer.param_groups:
        steps = 1 + max((int(state["step"]) for state in optimizer.state.values()), default=0)
        group["eps"] = EPSILON / (1.0 - group["betas"][1] ** steps) ** 0.5


class Program:
    """A model of PyTorch."""

    def __init__(self, model: Model):
        self.model = model
        self.net = Network(model).to(DEVICE)
        trained = [p for p in self.net.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=1e-3, eps=EPSILON, fused=True)
        self.criterion = LOSSES[model.loss]
        self.last_activation = ACTIVATIONS.get(model.layers[-1].activation or "", lambda z: z)

    def numbers(self, action: str) -> Numbers:
        """Return how training begins, or some outputs."""
        if action != "fit":
            return outputs_of(self.predict(1)())
        hook = self.optimizer.register_step_pre_hook(_keras_epsilon)
        try:
            return losses_of(self.fit(1))
        finally:
            hook.remove()
            self.optimizer.param_groups[0]["eps"] = EPSILON

    def fit(self, steps: int) -> Callable[[], float]:
        """One epoch of so many batches, which are where the model is; gives the mean loss."""
        x, y = draw_batches(self.model, steps)
        inputs, targets = torch.from_numpy(x).to(DEVICE), torch.from_numpy(y).to(DEVICE)
        if self.model.loss == "categorical_crossentropy":
            targets = targets.argmax(-1)
        batches = inputs.split(self.model.batch), targets.split(self.model.batch)

        def epoch():
            self.net.train()
            losses = []  # a loss that is looked at makes the host wait for the GPU
            for batch, target in zip(*batches, strict=True):
                self.optimizer.zero_grad(set_to_none=True)
                loss = self.criterion(self.net(batch), target)
                loss.backward()
                self.optimizer.step()
                losses.append(loss.detach())
            return torch.stack(losses).mean().item()

        return epoch

    def predict(self, steps: int) -> Callable[[], np.ndarray]:
        """The outputs for so many batches."""
        inputs = torch.from_numpy(draw_batches(self.model, steps)[0]).to(DEVICE)

        def run():
            self.net.eval()
            with torch.inference_mode():
                parts = [self.last_activation(self.net(x)) for x in inputs.split(self.model.batch)]
            return torch.cat(parts).cpu().numpy()

        return run
