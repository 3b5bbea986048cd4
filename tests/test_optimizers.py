"""Optimizers and schedules: trajectories against Keras's own, and what Keras has no answer for."""

import contextlib
import warnings
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_oracle import float_type

from tinyrnn import constraints, ops, optimizers, threads
from tinyrnn.autograd import Tensor, grad
from tinyrnn.optimizers import compiled, schedules

STEPS = 20
# float64: only the order of operations differs. float32: Keras also rounds beta^t, which costs Adam's
# correction 1 - beta_2^t the last five bits or so.
CLOSE = {"float64": {"rtol": 1e-9, "atol": 1e-12}, "float32": {"rtol": 1e-4, "atol": 1e-5}}


@dataclass(eq=False)
class Variable:
    data: np.ndarray
    name: str
    path: str
    constraint: Any = None
    trainable: bool = True


def some_variables(*shapes, dtype="float64"):
    rng = np.random.default_rng(7)
    return [
        Variable(rng.standard_normal(s).astype(dtype), f"w{i}", f"layer/w{i}") for i, s in enumerate(shapes)
    ]


def some_gradients(variables, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(v.data.shape).astype(v.data.dtype) for v in variables]


# --- twenty steps beside Keras ----------------------------------------------------------------------------

FRACTIONS = st.sampled_from([0.5, 0.9, 0.99])
MOMENTS = {"beta_1": FRACTIONS, "beta_2": FRACTIONS, "epsilon": st.sampled_from([1e-7, 1e-3])}
RULES = {
    "SGD": {"momentum": st.sampled_from([0.0, 0.5, 0.9]), "nesterov": st.booleans()},
    "RMSprop": {
        "rho": FRACTIONS,
        "momentum": st.sampled_from([0.0, 0.8]),
        "centered": st.booleans(),
        "epsilon": st.sampled_from([1e-7, 1e-3]),
    },
    "Adam": dict(**MOMENTS, amsgrad=st.booleans()),
    "AdamW": dict(**MOMENTS, amsgrad=st.booleans()),
    "Nadam": MOMENTS,
    "Adagrad": {"initial_accumulator_value": st.sampled_from([0.0, 0.1]), "epsilon": MOMENTS["epsilon"]},
    "Adadelta": {"rho": FRACTIONS, "epsilon": MOMENTS["epsilon"]},
    "Adamax": MOMENTS,
    "Lion": {"beta_1": FRACTIONS, "beta_2": FRACTIONS},
}
SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 5, "decay_rate": 0.5}),
    ("PiecewiseConstantDecay", {"boundaries": [3, 8], "values": [0.1, 0.02, 0.003]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 4, "power": 2.0, "cycle": True}),
]
CLIPPING = ["clipnorm", "clipvalue", "global_clipnorm"]
CONSTRAINTS = [
    ("NonNeg", {}),
    ("MaxNorm", {"max_value": 0.5}),
    ("MinMaxNorm", {"min_value": 0.8, "rate": 0.3}),
    ("UnitNorm", {}),
]


def optional(strategy):
    return st.none() | strategy


@st.composite
def shared_options(draw):
    options = {}
    if way := draw(optional(st.sampled_from(CLIPPING))):
        options[way] = draw(st.sampled_from([0.3, 2.0]))
    if (weight_decay := draw(optional(st.sampled_from([0.05, 1.0])))) is not None:
        options["weight_decay"] = weight_decay
    if draw(st.booleans()):
        options |= {"use_ema": True, "ema_momentum": draw(st.sampled_from([0.5, 0.9]))}
        options["ema_overwrite_frequency"] = draw(optional(st.sampled_from([1, 3])))
    options["gradient_accumulation_steps"] = draw(optional(st.sampled_from([2, 3])))
    options["loss_scale_factor"] = draw(optional(st.just(8.0)))
    return options


@st.composite
def cases(draw, rule):
    return {
        "options": draw(shared_options()) | {k: draw(s) for k, s in RULES[rule].items()},
        "learning_rate": draw(st.sampled_from([0.01, 0.1, *SCHEDULES])),
        "excluded": draw(optional(st.sampled_from(["by name", "by variable"]))),
        "constraint": draw(optional(st.sampled_from(CONSTRAINTS))),
        "missing": draw(optional(st.sampled_from([2, 3]))),
        "scale": draw(st.sampled_from([0.01, 1.0, 20.0])),
        "seed": draw(st.integers(0, 99)),
    }


def make_both(rule, dtype, learning_rate, options, excluded=None, constraint=None, seed=0):
    """Return (optimizer, variables) of ours and of Keras, with the same settings and weights."""
    rng = np.random.default_rng(seed)
    theirs = []
    for name, shape in (("kernel", (3, 2)), ("bias", (2,)), ("peephole", (2, 1, 3))):
        with keras.name_scope("cell"):
            theirs.append(keras.Variable(rng.standard_normal(shape).astype(dtype), name=name))
    ours = [Variable(v.numpy().copy(), v.name, v.path) for v in theirs]
    if constraint:
        name, config = constraint
        theirs[0].constraint = getattr(keras.constraints, name)(**config)
        ours[0].constraint = getattr(constraints, name)(**config)
    both = []
    for module, variables in ((optimizers, ours), (keras.optimizers, theirs)):
        rate = learning_rate
        if isinstance(rate, tuple):
            rate = getattr(module.schedules, rate[0])(**rate[1])
        optimizer = getattr(module, rule)(learning_rate=rate, **options)
        if excluded == "by name":
            optimizer.exclude_from_weight_decay(var_names=["bias", "hole$"])
        if excluded == "by variable":
            optimizer.exclude_from_weight_decay(var_list=[variables[0]])
        both.append((optimizer, variables))
    return both


def run_both(rule, dtype, learning_rate=0.05, missing=None, scale=1.0, seed=0, **settings):
    """Make the steps, compare the weights after each and the state after all."""
    with float_type(dtype), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?i).*gradient")  # those that are missing
        (mine, ours), (hers, theirs) = make_both(rule, dtype, learning_rate, seed=seed, **settings)
        rng = np.random.default_rng(seed + 1)
        # lax.cond would compile its branches anew in every call.
        accumulates = settings["options"].get("gradient_accumulation_steps")
        with jax.disable_jit() if accumulates else contextlib.nullcontext():
            for step in range(STEPS):
                grads = [(scale * rng.standard_normal(v.data.shape)).astype(dtype) for v in ours]
                if missing and step % missing:
                    grads[1] = None
                mine.apply(grads, ours)
                hers.apply(grads, theirs)
                for v, expected in zip(ours, theirs, strict=True):
                    assert v.data.dtype == dtype
                    np.testing.assert_allclose(v.data, expected.numpy(), **CLOSE[dtype], err_msg=v.name)
        compare_state(mine, hers, CLOSE[dtype])
        mine.finalize_variable_values(ours)
        hers.finalize_variable_values(theirs)
        for v, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(v.data, expected.numpy(), **CLOSE[dtype])


def compare_state(mine, hers, close):
    state = hers.variables
    assert [s.name for s in mine.variables] == [
        "u_product" if v.name.startswith("variable") else v.name for v in state
    ]
    for slot, expected in zip(mine.variables, state, strict=True):
        assert slot.data.shape == expected.shape
        np.testing.assert_allclose(slot.data, expected.numpy(), **close, err_msg=slot.path)
    assert mine.iterations == int(hers.iterations)


@pytest.mark.parametrize("rule", RULES)
@given(data=st.data())
@settings(max_examples=6)
def test_float64_equals_keras(rule, data):
    run_both(rule, "float64", **data.draw(cases(rule)))


@pytest.mark.parametrize("rule", RULES)
def test_float32_equals_keras_to_rounding(rule):
    run_both(rule, "float32", options={"clipnorm": 0.7, "use_ema": True, "weight_decay": 0.1})


@pytest.mark.parametrize("rule", RULES)
def test_defaults_are_those_of_keras(rule):
    config = getattr(optimizers, rule)().get_config()
    expected = getattr(keras.optimizers, rule)().get_config()
    assert config.pop("learning_rate") == pytest.approx(expected.pop("learning_rate"), rel=1e-7)  # float32
    del config["name"], expected["name"]  # numbered in Keras
    assert config == expected


@pytest.mark.parametrize(
    ("rule", "options", "names"),
    [
        ("SGD", {}, ""),
        ("SGD", {"momentum": 0.5}, "a_momentum b_momentum"),
        ("Adam", {}, "a_momentum a_velocity b_momentum b_velocity"),
        (
            "Adam",
            {"amsgrad": True, "use_ema": True},
            "a_average b_average a_momentum a_velocity b_momentum b_velocity a_velocity_hat b_velocity_hat",
        ),
        (
            "RMSprop",
            {"momentum": 0.5, "centered": True},
            "a_velocity b_velocity a_momentum b_momentum a_average_gradient b_average_gradient",
        ),
        ("Nadam", {}, "a_momentum a_velocity b_momentum b_velocity u_product"),
    ],
)
def test_order_of_the_state(rule, options, names):
    optimizer = getattr(optimizers, rule)(**options)
    optimizer.build([Variable(np.zeros(2), "a", "a"), Variable(np.zeros(3), "b", "b")])
    assert [s.name for s in optimizer.variables] == ["iteration", "learning_rate", *names.split()]


# --- schedules --------------------------------------------------------------------------------------------

RATES = st.floats(0.001, 1.0)
LENGTHS = st.integers(1, 30)
PARTS = st.floats(0.0, 1.0)
SCHEDULE_SETTINGS = {
    "ExponentialDecay": {
        "initial_learning_rate": RATES,
        "decay_steps": LENGTHS,
        "decay_rate": PARTS,
        "staircase": st.booleans(),
    },
    "InverseTimeDecay": {
        "initial_learning_rate": RATES,
        "decay_steps": LENGTHS,
        "decay_rate": PARTS,
        "staircase": st.booleans(),
    },
    "PolynomialDecay": {
        "initial_learning_rate": RATES,
        "decay_steps": LENGTHS,
        "end_learning_rate": RATES,
        "power": st.sampled_from([0.5, 1.0, 2.0]),
        "cycle": st.booleans(),
    },
    "CosineDecay": {
        "initial_learning_rate": RATES,
        "decay_steps": LENGTHS,
        "alpha": PARTS,
        "warmup_target": optional(RATES),
        "warmup_steps": LENGTHS,
    },
    "CosineDecayRestarts": {
        "initial_learning_rate": RATES,
        "first_decay_steps": st.integers(2, 9),
        "t_mul": st.sampled_from([1.0, 2.0]),
        "m_mul": PARTS,
        "alpha": PARTS,
    },
    "PiecewiseConstantDecay": {
        "boundaries": st.lists(st.integers(0, 40), min_size=2, max_size=2, unique=True).map(sorted),
        "values": st.lists(RATES, min_size=3, max_size=3),
    },
}


@pytest.mark.parametrize("name", SCHEDULE_SETTINGS)
@given(data=st.data())
@settings(max_examples=10)
def test_schedule_equals_keras(name, data):
    config = {k: data.draw(s, label=k) for k, s in SCHEDULE_SETTINGS[name].items()}
    ours = getattr(schedules, name)(**config)
    with float_type("float64"), jax.disable_jit():
        theirs = getattr(keras.optimizers.schedules, name)(**config)
        expected = [float(theirs(step)) for step in (0, 1, 2, 3, 5, 7, 11, 20, 30, 45, 63)]
    found = [ours(step) for step in (0, 1, 2, 3, 5, 7, 11, 20, 30, 45, 63)]
    # Keras's `cos` on JAX turns float64 into float32.
    close = {"rtol": 0, "atol": 3e-7} if "Cosine" in name else {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(found, expected, **close)
    assert ours.get_config() == theirs.get_config()
    assert type(ours).from_config(ours.get_config())(17) == ours(17)


def test_every_restart_starts_at_its_top():
    """Of 3^n first periods the logarithm says 4.999999 where it should say 5; Keras then misses it."""
    schedule = schedules.CosineDecayRestarts(1.0, 10, t_mul=3.0, m_mul=0.5)
    starts = [10 * (3**n - 1) // 2 for n in range(9)]
    np.testing.assert_allclose([schedule(s) for s in starts], [0.5**n for n in range(9)], rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "ExponentialDecay: decay_steps: .* found 0"),
        (lambda: schedules.InverseTimeDecay(0.1, -1, 0.5), "InverseTimeDecay: decay_steps: .* found -1"),
        (lambda: schedules.PolynomialDecay(0.1, 0), "PolynomialDecay: decay_steps"),
        (lambda: schedules.CosineDecay(0.1, 0), "CosineDecay: decay_steps"),
        (lambda: schedules.CosineDecayRestarts(0.1, 0), "CosineDecayRestarts: first_decay_steps"),
        (lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5), "t_mul: expected a number from 1 on"),
        (lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]), "found 2 values and 2 boundaries"),
        (lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]), "increasing boundaries"),
        (lambda: schedules.get({"class_name": "CosinDecay"}), "did you mean 'CosineDecay'"),
    ],
)
def test_schedule_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_schedule_of_ones_own():
    class Warm(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.5 / (step + 1)

    optimizer = optimizers.SGD(Warm())
    variable = Variable(np.zeros(1), "w", "w")
    for _ in range(3):
        optimizer.apply([np.ones(1)], [variable])
    np.testing.assert_allclose(variable.data, -0.5 * (1 + 1 / 2 + 1 / 3))


# --- the learning rate ------------------------------------------------------------------------------------


def test_learning_rate_can_be_assigned():
    (variable,) = variables = some_variables((2,))
    optimizer = optimizers.SGD(0.5)
    start = variable.data.copy()
    optimizer.learning_rate = 0.25
    assert optimizer.learning_rate == 0.25
    optimizer.apply([np.ones(2)], variables)
    np.testing.assert_allclose(variable.data, start - 0.25)
    assert optimizer.get_config()["learning_rate"] == 0.25


def test_a_schedule_cannot_be_overruled_but_replaced():
    optimizer = optimizers.Adam(schedules.ExponentialDecay(0.1, 1, 0.5))
    assert [s.name for s in optimizer.variables] == ["iteration"]
    with pytest.raises(TypeError, match=r"adam: the learning rate follows a schedule.* 0\.3"):
        optimizer.learning_rate = 0.3
    assert optimizer.learning_rate == 0.1
    optimizer.learning_rate = schedules.ExponentialDecay(0.7, 1, 0.5)
    assert optimizer.learning_rate == 0.7


def test_a_callable_is_called_without_arguments():
    rates = iter([0.5, 0.25])
    (variable,) = variables = some_variables((2,))
    start = variable.data.copy()
    optimizer = optimizers.SGD(lambda: next(rates))
    optimizer.apply([np.ones(2)], variables)
    optimizer.apply([np.ones(2)], variables)
    np.testing.assert_allclose(variable.data, start - 0.75)


@pytest.mark.parametrize("rate", [1, "0.1", None, True])
def test_learning_rate_must_be_a_float(rate):
    with pytest.raises(ValueError, match="SGD: learning_rate: expected a float or a schedule, found"):
        optimizers.SGD(rate)


def test_old_spellings():
    with pytest.warns(FutureWarning, match="Adam: lr is an old spelling of learning_rate") as caught:
        assert optimizers.Adam(lr=0.02).learning_rate == 0.02
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning, match="SGD: decay is ignored"):
        assert "decay" not in optimizers.SGD(0.1, decay=1e-6).get_config()
    with pytest.raises(ValueError, match="Adam: unknown argument 'clip_norm'; did you mean 'clipnorm'"):
        optimizers.Adam(clip_norm=1.0)
    with pytest.raises(ValueError, match="Adam: unknown argument 'beta1'; did you mean 'beta_1'"):
        optimizers.Adam(beta1=0.9)


# --- settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0),
            "one way of clipping, found clipnorm=1.0, clip",
        ),
        (lambda: optimizers.SGD(global_clipnorm=-1.0), "SGD: global_clipnorm: expected a positive .* -1.0"),
        (lambda: optimizers.SGD(gradient_accumulation_steps=1), "accumulation_steps: .* from 2 on, found 1"),
        (lambda: optimizers.SGD(use_ema=True, ema_momentum=1.5), "ema_momentum: .* found 1.5"),
        (lambda: optimizers.SGD(use_ema=True, ema_overwrite_frequency=0.5), "ema_overwrite_frequency"),
        (lambda: optimizers.SGD(momentum=1.5), "SGD: momentum: expected a number in 0 ... 1, found 1.5"),
        (lambda: optimizers.AdamW(weight_decay=None), "AdamW: weight_decay"),
        (lambda: optimizers.Lion(beta_1=0.0), "Lion: beta_1: .* found 0.0"),
        (lambda: optimizers.get("adamm"), "unknown optimizer 'adamm'; did you mean 'adam'"),
        (lambda: optimizers.get(print), "optimizer: expected a name or an Optimizer"),
    ],
)
def test_setting_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_get():
    for name in ("adam", "Adam", "ADAM", optimizers.Adam):
        assert type(optimizers.get(name)) is optimizers.Adam
    assert optimizers.get(None) is None
    optimizer = optimizers.SGD()
    assert optimizers.get(optimizer) is optimizer
    for rule in RULES:
        assert type(optimizers.get(rule.lower())).__name__ == rule


@pytest.mark.parametrize("rule", RULES)
def test_config_goes_to_keras_and_back(rule):
    ours = getattr(optimizers, rule)(0.25, weight_decay=0.5, clipnorm=2.0, use_ema=True)
    theirs = getattr(keras.optimizers, rule).from_config(ours.get_config())
    assert ours.get_config() == theirs.get_config()
    again = optimizers.get(keras.optimizers.serialize(theirs))
    assert type(again).__name__ == rule
    assert again.get_config() == ours.get_config()


def test_config_with_a_schedule():
    rate = schedules.PolynomialDecay(0.2, 7, power=2.0)
    config = optimizers.Adam(rate, amsgrad=True).get_config()
    assert config["learning_rate"] == {
        "module": "keras.optimizers.schedules",
        "class_name": "PolynomialDecay",
        "config": rate.get_config(),
        "registered_name": None,
    }
    again = optimizers.get({"class_name": "Adam", "config": config})
    assert again.learning_rate == 0.2
    assert again.get_config() == config
    theirs = keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(0.2, 7, power=2.0))
    assert (
        optimizers.get(keras.optimizers.serialize(theirs)).get_config()["learning_rate"]
        == config["learning_rate"]
    )


# --- gradients and variables ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_gradients_are_read_only_and_weights_change_in_place(rule):
    """Weights may be views of something larger, gradients broadcast views that cannot be written."""
    whole = np.ones((4, 3), "float32")
    variable = Variable(whole[1:3], "w", "w")
    g = np.broadcast_to(np.float32(2.0), (2, 3))
    optimizer = getattr(optimizers, rule)(0.1, clipvalue=0.5, loss_scale_factor=2.0, weight_decay=0.1)
    for _ in range(2):
        optimizer.apply([g], [variable])
    assert variable.data.base is whole
    assert (whole[1:3] != 1).all()
    assert (whole[[0, 3]] == 1).all()
    assert (g == 2).all()
    assert {s.data.dtype.name for s in optimizer.variables[2:] if s.data.ndim} <= {"float32"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("rule", "options"),
    [(rule, {}) for rule in RULES]
    + [
        ("SGD", {"momentum": 0.9}), ("SGD", {"momentum": 0.9, "nesterov": True}), ("Adam", {"amsgrad": True}),
        ("RMSprop", {"momentum": 0.5, "centered": True}), ("Adam", {"weight_decay": 0.1, "clipnorm": 0.5}),
    ],
)  # fmt: skip
def test_the_compiled_update_equals_the_rule(rule, options, dtype, monkeypatch):
    """Weights and all slots, beside the rule run on arrays; one and several threads give the same bits."""

    def states(compiles, workers):
        threads.set_num_threads(workers)
        rng = np.random.default_rng(0)
        values = [rng.standard_normal(s).astype(dtype) for s in ((50, 7), (3,), (), (11, 2, 3), (4, 5))]
        values[-1] = np.asfortranarray(values[-1])
        variables = [Variable(value, f"v{k}", f"v{k}") for k, value in enumerate(values)]
        optimizer = getattr(optimizers, rule)(0.1, **options)
        if not compiles:
            optimizer._compiled = lambda c: None
        for _ in range(4):
            optimizer.apply([rng.standard_normal(v.shape).astype(dtype) for v in values], variables)
        return [v.data for v in variables] + [s.data for s in optimizer.variables]

    monkeypatch.setattr(compiled, "_SMALL", 1)
    try:
        expected, one, three = states(False, 1), states(True, 1), states(True, 3)
    finally:
        threads.set_num_threads(None)
    tolerance = {"float32": 2e-6, "float64": 1e-14}[dtype]
    for a, b, c in zip(expected, one, three, strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(b, c)


def test_a_missing_gradient_leaves_variable_and_state_alone():
    variables = some_variables((2,), (3,), (2, 2))
    optimizer = optimizers.Adam(0.1, weight_decay=0.5)
    optimizer.apply(some_gradients(variables), variables)
    before = [s.data.copy() for s in optimizer.variables]
    weight = variables[1].data.copy()
    g, _, h = some_gradients(variables, 1)
    with pytest.warns(UserWarning, match="adam: no gradient for layer/w1") as caught:
        optimizer.apply([g, None, h])
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(variables[1].data, weight)
    for slot, old in zip(optimizer.variables, before, strict=True):
        assert slot.name == "learning_rate" or ("w1" in slot.name) == (slot.data == old).all()


def test_gradient_errors_come_before_any_change():
    variables = some_variables((2,), (3,))
    other = some_variables((2,))
    g, h = some_gradients(variables)
    optimizer = optimizers.Adam()
    with pytest.raises(ValueError, match="adam: give the variables, or call build"):
        optimizer.apply([g, h])
    optimizer.build(variables)
    start = [v.data.copy() for v in variables]
    for grads, given_variables, message in [
        ([None, None], None, "adam: no gradient for any variable: layer/w0, layer/w1"),
        ([g], None, "1 gradients for 2 variables"),
        ([h, g], None, r"layer/w0: expected a gradient of shape \(2,\), found \(3,\)"),
        ([g], other, "layer/w0: none of the variables"),
        ([g, g], [variables[0], variables[0]], "layer/w0: given twice"),
    ]:
        with pytest.raises(ValueError, match=message):
            optimizer.apply(grads, given_variables)
    assert optimizer.iterations == 0
    for v, w in zip(variables, start, strict=True):
        np.testing.assert_array_equal(v.data, w)
    optimizer.apply([g, h])
    assert optimizer.iterations == 1


@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("int32", "int32")])
def test_variables_of_one_float_type(dtypes):
    variables = [Variable(np.zeros(2, d), "w", "w") for d in dtypes]
    with pytest.raises(TypeError, match=f"sgd: expected variables of one float type, found .*{dtypes[0]}"):
        optimizers.SGD().build(variables)


def test_pairs_a_subset_and_nothing_at_all():
    a, b = variables = some_variables((2,), (2,))
    start = b.data.copy(), a.data.copy()
    optimizer = optimizers.SGD(0.5)
    optimizer.build(variables)
    optimizer.apply_gradients([(np.full(2, 4.0), b)])
    np.testing.assert_allclose(b.data, start[0] - 2)
    np.testing.assert_array_equal(a.data, start[1])
    optimizer.apply([])
    assert optimizer.iterations == 1


def test_state_moves_to_another_optimizer():
    options = {"momentum": 0.9, "centered": True, "use_ema": True, "gradient_accumulation_steps": 2}
    variables = some_variables((2, 3), (3,))
    first = optimizers.RMSprop(0.01, **options)
    for step in range(5):
        first.apply(some_gradients(variables, step), variables)
    copies = [Variable(v.data.copy(), v.name, v.path) for v in variables]
    second = optimizers.RMSprop(0.5, **options)
    second.build(copies)
    for slot, saved in zip(second.variables, first.variables, strict=True):
        slot.data[...] = saved.data
    for step in range(5, 9):
        first.apply(some_gradients(variables, step), variables)
        second.apply(some_gradients(variables, step), copies)
    for v, c in zip(variables, copies, strict=True):
        np.testing.assert_array_equal(v.data, c.data)


def test_global_norm_of_zeros_and_of_infinity():
    variables = some_variables((2,), (3,))
    start = [v.data.copy() for v in variables]
    optimizer = optimizers.SGD(1.0, global_clipnorm=1.0)
    optimizer.apply([np.zeros(2), np.zeros(3)], variables)
    for v, w in zip(variables, start, strict=True):
        np.testing.assert_array_equal(v.data, w)
    optimizer.apply([np.array([np.inf, 0.0]), np.ones(3)], variables)
    assert all(np.isnan(v.data).all() for v in variables)


def test_gradients_may_be_tensors():
    (variable,) = variables = some_variables((2,))
    start = variable.data.copy()
    w = Tensor(start, requires_grad=True)
    optimizers.SGD(0.5).apply([grad((w * w).sum(), w)], variables)
    np.testing.assert_allclose(variable.data, 0, atol=1e-15)


def test_averages_need_as_many_variables():
    variables = some_variables((2,), (3,))
    optimizer = optimizers.SGD(use_ema=True)
    optimizer.build(variables)
    with pytest.raises(ValueError, match="sgd: expected the 2 variables of build, found 1"):
        optimizer.finalize_variable_values(variables[:1])


def test_loss_scale():
    assert optimizers.SGD(loss_scale_factor=4.0).scale_loss(3.0) == 12.0
    assert optimizers.SGD().scale_loss(3.0) == 3.0


def test_a_rule_of_ones_own():
    class Signs(optimizers.Optimizer):
        """Add up the signs, step by their sum."""

        def slots(self):
            return [{"total": 1.0}]

        def update(self, g, c, total):
            total = total + ops.sign(g)
            return c * total, {"total": total}

    (variable,) = variables = some_variables((2,))
    start = variable.data.copy()
    optimizer = Signs(0.5)
    optimizer.apply([np.array([3.0, -2.0])], variables)
    np.testing.assert_allclose(variable.data, start - 0.5 * np.array([2.0, 0.0]))
    assert optimizer._compiled(0.5) is not None
    with pytest.raises(NotImplementedError, match="Optimizer: an optimizer defines update"):
        optimizers.Optimizer().apply([np.ones(2)], variables)


def test_a_rule_that_is_not_elementwise():
    class Unit(optimizers.Optimizer):
        """Step along the gradient of each variable by its length."""

        def update(self, g, c):
            return c * g / ops.norm(g), {}

    variables = some_variables((2,), (3, 4))
    start = [v.data.copy() for v in variables]
    optimizer = Unit(0.5)
    optimizer.apply([np.array([3.0, -4.0]), np.ones((3, 4))], variables)
    assert optimizer._compiled(0.5) is None
    np.testing.assert_allclose(variables[0].data, start[0] - 0.5 * np.array([0.6, -0.8]))
    np.testing.assert_allclose(variables[1].data, start[1] - 0.5 / 12**0.5)


def test_numbers_may_be_changed_between_steps():
    """The compiled update reads them anew; what changes the form of the rule compiles another."""

    def weights(*decays):
        variables = some_variables((5,))
        optimizer = optimizers.SGD(0.1, momentum=0.9)
        for step, (momentum, nesterov) in enumerate(decays):
            optimizer.momentum, optimizer.nesterov = momentum, nesterov
            optimizer.apply(some_gradients(variables, step), variables)
        return variables[0].data

    g = [some_gradients(some_variables((5,)), step)[0] for step in range(2)]
    m = -0.1 * g[0]
    expected = some_variables((5,))[0].data + m
    m = 0.5 * m - 0.1 * g[1]
    np.testing.assert_allclose(weights((0.9, False), (0.5, False)), expected + m, rtol=1e-6)
    np.testing.assert_allclose(weights((0.9, False), (0.5, True)), expected + 0.5 * m - 0.1 * g[1], rtol=1e-6)


@pytest.mark.parametrize("rule", ["SGD", "Adam"])
def test_variables_may_come_in_any_order(rule):
    def weights(order):
        variables = some_variables((5,), (3, 3), (7,))
        optimizer = getattr(optimizers, rule)(0.1)
        optimizer.build(variables)
        for step in range(2):
            grads = some_gradients(variables, step)
            optimizer.apply([grads[i] for i in order], [variables[i] for i in order])
        return [v.data for v in variables]

    for found, expected in zip(weights([2, 0, 1]), weights([0, 1, 2]), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_weights_that_are_no_longer_those_of_build_are_refused():
    variables = some_variables((5,), (3,))
    optimizer = optimizers.SGD(0.1)
    optimizer.build(variables)
    grads = some_gradients(variables)
    variables[1].data.flags.writeable = False
    with pytest.raises(ValueError, match=r"sgd: a weight of shape \(3,\) is read-only"):
        optimizer.apply(grads, variables)
    variables[1].data = np.ones(3, "float32")
    with pytest.raises(ValueError, match="sgd: layer/w1: built for 3 values in float64, found 3 in float32"):
        optimizer.apply(grads, variables)
    variables[1].data = np.ones(2)
    with pytest.raises(ValueError, match="built for 3 values in float64, found 2 in float64"):
        optimizer.apply([grads[0], np.ones(2)], variables)


def test_arrays_of_weights_may_be_replaced_between_steps():
    rng = np.random.default_rng(0)
    v, w = some_variables((3, 4), (5,))
    optimizer = optimizers.SGD(0.5, momentum=0.5)
    rows = rng.standard_normal((4, 4))
    later = [v.data, v.data.copy(), np.asfortranarray(v.data), rows[:3], rows.T[:3], rows[1:], v.data]
    velocities = [np.zeros((3, 4)), np.zeros(5)]
    for new in later:
        v.data = new
        gradients = [rng.standard_normal((3, 4)), rng.standard_normal(5)]
        gradients[1].flags.writeable = False
        velocities = [0.5 * m - 0.5 * g for m, g in zip(velocities, gradients, strict=True)]
        expected = [x.data + m for x, m in zip((v, w), velocities, strict=True)]
        optimizer.apply(gradients, [v, w])
        assert v.data is new
        for x, e in zip((v, w), expected, strict=True):
            np.testing.assert_allclose(x.data, e, rtol=1e-12)


def test_numbers_may_be_numpys():
    (variable,) = variables = some_variables((2,))
    start, g = variable.data.copy(), np.ones(2)
    optimizer = optimizers.SGD(0.1, momentum=np.float64(0.9))
    optimizer.apply([g], variables)
    optimizer.momentum = np.float64(0.0)
    optimizer.apply([g], variables)
    np.testing.assert_allclose(variable.data, start - 0.2)


def test_arrays_that_change_places():
    """In the second step the same arrays come in the same order, but belong to other variables."""

    def trained(forgetful):
        first, second = some_variables((3,), (3,), dtype="float32")
        optimizer = optimizers.Adam(0.1)
        optimizer.apply([np.ones(3, "float32"), -np.ones(3, "float32")], [first, second])
        first.data, second.data = second.data, first.data
        if forgetful:
            optimizer._update_compiled = None, None
        optimizer.apply([np.full(3, 0.5, "float32"), np.ones(3, "float32")], [second, first])
        return [first.data, second.data, *(slot.data for slot in optimizer.variables)]

    for found, expected in zip(trained(False), trained(True), strict=True):
        np.testing.assert_array_equal(found, expected)
