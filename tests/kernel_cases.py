"""Cells to try the kernels on, inputs for them, and what comes out: shared by the tests of the kernels."""

import numpy as np
from hypothesis import strategies as st

from tinyrnn import activations, ops, recurrent
from tinyrnn.autograd import Tensor, grad
from tinyrnn.recurrent import cells

ON_HOST = [kernel for kernel in recurrent.KERNELS if kernel != "gpu"]

# --- cells to try -----------------------------------------------------------------------------------------


class Peephole(cells.LSTM):
    params = ("p_i", "p_f", "p_o")

    def step(self, x, r, s, p):
        i = ops.sigmoid(x.i + r.i + p.p_i * s.c)
        f = ops.sigmoid(x.f + r.f + p.p_f * s.c)
        c = f * s.c + i * ops.tanh(x.c + r.c)
        o = ops.sigmoid(x.o + r.o + p.p_o * c)
        return o * ops.tanh(c), c


class Coupled(cells.Cell):
    """Forgets exactly what it does not take in; its second state counts slowly."""

    gates = ("f", "c")
    states = ("h", "n")

    def step(self, x, r, s, p):
        f = ops.sigmoid(x.f + r.f)
        return f * s.h + (1.0 - f) * ops.tanh(x.c + r.c), 0.5 * s.n + ops.square(x.f)


class LateWithParameter(cells.Cell):
    """Everything at once: a late gate, a parameter, two biases, two states."""

    gates = ("a", "b")
    late_gates = ("b",)
    states = ("h", "m")
    params = ("w",)
    two_biases = True

    def late_input(self, x, r, s, p):
        return ops.tanh(x.a + r.a) * s.m + p.w * s.h

    def step(self, x, r, s, p):
        a = ops.sigmoid(r.a)
        return a * s.h + ops.tanh(x.b + r.b), a * s.m + p.w * r.b


class MinGRU(cells.Cell):
    """Gates that depend on the input alone: no recurrent product at all."""

    gates = ("z", "h")

    def step(self, x, r, s, p):
        z = ops.sigmoid(x.z)
        return z * s.h + (1.0 - z) * x.h


class Half(cells.Cell):
    """One gate leaves out its recurrent product, a late one its part of the input."""

    gates = ("a", "b", "c")
    late_gates = ("c",)
    states = ("h", "m")

    def late_input(self, x, r, s, p):
        return ops.tanh(r.b) * s.m

    def step(self, x, r, s, p):
        return ops.sigmoid(x.a) * s.h + ops.tanh(r.c), 0.5 * s.m + x.b


def with_activations(cell, activation, recurrent_activation="sigmoid"):
    cell.activation = activations.get(activation)
    cell.recurrent_activation = activations.get(recurrent_activation)
    return cell


def reset_before():
    cell = cells.GRU()
    cell.reset_after = False
    return cell


CELLS = {
    "SimpleRNN": cells.SimpleRNN,
    "LSTM": cells.LSTM,
    "GRU": cells.GRU,
    "GRU, reset before": reset_before,
    "SimpleRNN relu": lambda: with_activations(cells.SimpleRNN(), "relu"),
    "LSTM softsign, hard_sigmoid": lambda: with_activations(cells.LSTM(), "softsign", "hard_sigmoid"),
    "GRU gelu": lambda: with_activations(cells.GRU(), "gelu"),
    "LSTM elu, linear": lambda: with_activations(cells.LSTM(), "elu", "linear"),
    "Peephole": Peephole,
    "Coupled": Coupled,
    "LateWithParameter": LateWithParameter,
    "MinGRU": MinGRU,
    "Half": Half,
}

# --- values and gradients ---------------------------------------------------------------------------------


def draw_inputs(cell, batch, length, units, seed, dtype):
    """Return xz, U, b_r, params, states0 as one flat list of arrays."""
    rng = np.random.default_rng(seed)
    width = len(cell.gates) * units
    shapes = [(batch, length, width), (units, width)]
    shapes += [(width,)] * cell.two_biases + [(units,)] * len(cell.params)
    shapes += [(batch, units)] * len(cell.states)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def results(kernel, cell, inputs, mask, rec_mask, reverse, used, projection=None, frozen=()):
    """Return outputs, states, and the gradients of the inputs for random gradients of those `used`.

    `projection`, if given, says how the first inputs, its parts, give the pre-activations. There are no
    gradients of the inputs with the numbers in `frozen`.
    """
    tensors = [Tensor(x, requires_grad=k not in frozen) for k, x in enumerate(inputs)]
    n_parts = 1 if projection is None else len(projection.parts)
    arguments = recurrent._unpack(cell, tensors, projection, n_parts)
    outputs, states = recurrent.run(cell, *arguments, mask, rec_mask, reverse, kernel)
    rng = np.random.default_rng(1)
    seeds = [rng.standard_normal(y.shape).astype(y.dtype) for y in (outputs, *states)]
    chosen = {"all": slice(None), "outputs": slice(1), "last state": slice(len(states), None)}[used]
    gradients = grad([outputs, *states][chosen], [t for t in tensors if t.requires_grad], seeds[chosen])
    return [y.data for y in (outputs, *states)], [g.data for g in gradients]


case = st.fixed_dictionaries(
    {
        "name": st.sampled_from(list(CELLS)),
        "dtype": st.sampled_from(["float64", "float32"]),
        "batch": st.integers(1, 3),
        "length": st.sampled_from([1, 2, 5]),
        "masked": st.sampled_from([None, "random", "right", "left", "empty row"]),
        "dropped": st.booleans(),
        "reverse": st.booleans(),
        "used": st.sampled_from(["all", "outputs", "last state"]),
        "seed": st.integers(0, 999),
    }
)


def draw_masks(case, gates, units):
    rng = np.random.default_rng(case["seed"])
    batch, length = case["batch"], case["length"]
    steps, lengths = np.arange(length), rng.integers(1, length + 1, (batch, 1))
    mask = {
        None: None,
        "random": rng.random((batch, length)) < 0.6,
        "right": steps < lengths,
        "left": steps >= length - lengths,
        "empty row": np.arange(batch)[:, None] + 0 * steps > 0,
    }[case["masked"]]
    rec_mask = (rng.random((gates, batch, units)) < 0.6) / 0.6 if case["dropped"] else None
    return mask, rec_mask if rec_mask is None else rec_mask.astype(case["dtype"])
