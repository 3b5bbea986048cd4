"""What ONNX Runtime computes with an exported model is what the model predicts."""

import itertools
import re
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, make_mask

import tinyrnn
from tinyrnn import activations, layers, ops
from tinyrnn.interop import export_onnx
from tinyrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Activation,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    Input,
    Lambda,
    Layer,
    LSTMCell,
    Masking,
    SimpleRNN,
    TimeDistributed,
)

SIZES = ((3, 5), (1, 1), (7, 8))  # batches and lengths: none of them is that of the export
F, U = 3, 4


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def randomize(model):
    rng = np.random.default_rng(1)
    model.set_weights([0.5 * rng.standard_normal(w.shape).astype("float32") for w in model.weights])
    return model


def chain(*of_layers, shape=(None, F), dtype="float32", batch_size=None):
    return randomize(tinyrnn.Sequential([Input(shape, batch_size, dtype), *of_layers]))


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.fixture
def equal(tmp_path):
    """Return a function that compares the predictions of both for some inputs."""

    def compare(model, *inputs, tolerance=1e-5, **settings):
        export_onnx(model, tmp_path / "model.onnx", **settings)
        run = session(tmp_path / "model.onnx")
        (source,), (target,) = run.get_inputs(), run.get_outputs()
        assert [source.name] == model.input_names
        assert [target.name] == model.output_names
        for x in inputs:
            expected = model.predict(x, verbose=0)
            (found,) = run.run(None, {source.name: x})
            assert found.dtype == expected.dtype
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
            assert np.isfinite(found).all()
        return run

    return compare


def masked_inputs(kind, sizes=SIZES):
    """Return sequences whose masked steps are zeros, for `Masking`, and nowhere else."""
    for batch, time in sizes:
        x = draw(batch, time, F)
        yield x if kind is None else x * make_mask(kind, batch, time)[:, :, None].astype("float32")


# --- recurrent layers -------------------------------------------------------------------------------------

CELLS = {
    "SimpleRNN": lambda **s: SimpleRNN(U, kernel="array", **s),
    "LSTM": lambda **s: LSTM(U, kernel="array", **s),
    "GRU": lambda **s: GRU(U, kernel="array", **s),
    "GRU, reset before": lambda **s: GRU(U, reset_after=False, kernel="array", **s),
}
MASK = (None, *MASKS)
FLAG = st.booleans()


@pytest.mark.parametrize("mask", MASK)
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_layers(equal, cell, return_sequences, go_backwards, mask):
    for zero_output_for_mask in [False] if mask is None else [False, True]:
        layer = CELLS[cell](
            return_sequences=return_sequences,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output_for_mask,
        )
        before = [] if mask is None else [Masking()]
        equal(chain(*before, layer), *masked_inputs(mask))


@given(
    cells=st.tuples(st.sampled_from(list(CELLS)), st.sampled_from(list(CELLS))),
    mask=st.sampled_from(MASK),
    sequences=FLAG,
    turned=FLAG,
    bias=FLAG,
    merge=st.sampled_from(["concat", "sum", "ave", "mul"]),
)
def test_bidirectional(equal, cells, mask, sequences, turned, bias, merge):
    forward, backward = (
        CELLS[cell](return_sequences=sequences, use_bias=bias, go_backwards=backwards)
        for cell, backwards in zip(cells, (turned, not turned), strict=True)
    )
    layer = Bidirectional(forward, backward_layer=backward, merge_mode=merge)
    before = [] if mask is None else [Masking()]
    equal(chain(*before, layer), *masked_inputs(mask))


@given(
    depth=st.lists(st.tuples(st.sampled_from(list(CELLS)), FLAG, FLAG), min_size=2, max_size=3),
    mask=st.sampled_from(MASK),
    last=FLAG,
)
def test_masks_go_from_layer_to_layer(equal, depth, mask, last):
    of_layers = [] if mask is None else [Masking()]
    for n, (cell, both, zeros) in enumerate(depth):
        layer = CELLS[cell](return_sequences=last or n + 1 < len(depth), zero_output_for_mask=zeros)
        of_layers += [Bidirectional(layer) if both else layer, Dropout(0.5), Dense(F, activation="tanh")]
    equal(chain(*of_layers), *masked_inputs(mask))


KNOWN = ("tanh", "sigmoid", "relu", "softsign", "softplus", "leaky_relu", "elu", "linear", "hard_sigmoid")


@pytest.mark.parametrize(("first", "second"), [*itertools.pairwise((*KNOWN, "tanh")), ("elu", "leaky_relu")])
def test_activations_of_cells(equal, first, second):
    for make in (LSTM, GRU):
        layer = make(U, activation=first, recurrent_activation=second, kernel="array")
        equal(chain(layer), 0.3 * draw(3, 4, F))
    equal(chain(SimpleRNN(U, activation=first, kernel="array")), 0.3 * draw(3, 4, F))


def test_an_rnn_of_a_cell_and_one_unit(equal):
    equal(chain(RNN(GRUCell(1), return_sequences=True)), draw(2, 3, F))
    equal(chain(Bidirectional(RNN(LSTMCell(1)))), draw(2, 1, F))
    equal(chain(Masking(), LSTM(1, return_sequences=True), shape=(1, F)), draw(2, 1, F))


@pytest.mark.filterwarnings("ignore:.* does not pass a mask on")
@pytest.mark.parametrize("dtype", ["int32", "int64", "float64"])
def test_inputs_of_other_types(equal, dtype):
    x = np.arange(24).reshape(2, 4, 3).astype(dtype) % 5
    equal(chain(GRU(U), dtype=dtype), x)
    equal(chain(Masking(1), layers.Permute((2, 1)), Dense(2), shape=(4, F), dtype=dtype), x)


def test_a_cell_as_large_as_in_use(equal):
    model = chain(LSTM(64, return_sequences=True), GRU(33), shape=(None, 20))
    model.set_weights([0.1 * w for w in model.get_weights()])
    equal(model, draw(5, 60, 20))


# --- embeddings and masks ---------------------------------------------------------------------------------


def ids(batch, time, *more, words=4, seed=0):
    return np.random.default_rng(seed).integers(0, words, (batch, time, *more)).astype("int32")


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
@pytest.mark.parametrize("mask_zero", [False, True])
def test_embedding(equal, mask_zero, dtype):
    of_layers = [Embedding(4, F, mask_zero=mask_zero), LSTM(U, return_sequences=True), GRU(U)]
    inputs = [ids(*size).astype(dtype) for size in SIZES]
    inputs.append(np.zeros((2, 3), dtype))  # nothing valid at all
    equal(chain(*of_layers, shape=(None,), dtype=dtype), *inputs)


@pytest.mark.filterwarnings("ignore:.* does not pass a mask on")
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("keepdims", [False, True])
def test_pooling_of_masked_steps(equal, mask, keepdims):
    pooling = layers.GlobalAveragePooling1D(keepdims=keepdims)
    equal(chain(Masking(), Dense(2), pooling), *masked_inputs(mask))
    equal(chain(Masking(), layers.GlobalMaxPooling1D()), *masked_inputs(mask))


def test_masking_of_a_value(equal):
    x = draw(4, 6, F)
    x[0, 2:] = x[1, ::2] = 0.1  # not exact in float32
    x[2, 1, 0] = 0.1
    equal(chain(Masking(0.1), GRU(U)), x)
    equal(chain(Masking(0.1), Dense(2)), x)


@pytest.mark.filterwarnings("ignore:.* does not pass a mask on")
@pytest.mark.parametrize("inner", [
    lambda: LSTM(U), lambda: LSTM(U, return_sequences=True), lambda: Bidirectional(GRU(U)),
    lambda: layers.GlobalAveragePooling1D(), lambda: layers.Flatten(), lambda: Dense(2),
    lambda: tinyrnn.Sequential([Dense(2), SimpleRNN(U)]),
])  # fmt: skip
def test_sentences_of_words(equal, inner):
    """Documents (B, T, S): the mask of the words goes in, that of the sentences comes out."""
    x = ids(3, 4, 5)
    x[0, 2:] = x[1, 0] = x[2, :, 3:] = 0
    embedding = Embedding(4, F, mask_zero=True)
    is_sequence = isinstance(inner(), Dense) or getattr(inner(), "return_sequences", False)
    after = [TimeDistributed(LSTM(U)), LSTM(U)] if is_sequence else [LSTM(U)]
    equal(chain(embedding, TimeDistributed(inner()), *after, shape=(None, 5), dtype="int32"), x, x[:2, 1:])


def test_any_number_of_sentences_of_any_number_of_words(equal):
    of_layers = [Embedding(4, F, mask_zero=True), TimeDistributed(LSTM(U)), LSTM(U)]
    equal(chain(*of_layers, shape=(None, None), dtype="int32"), ids(3, 4, 5), ids(1, 2, 7))


@pytest.mark.parametrize("inner", [
    lambda: Dense(2, activation="softmax"), lambda: layers.Softmax(), lambda: layers.LayerNormalization(),
    lambda: tinyrnn.Sequential([Dense(5, activation="relu"), Dense(2)]), lambda: layers.RepeatVector(2),
])  # fmt: skip
def test_time_distributed(equal, inner):
    equal(chain(TimeDistributed(inner())), *(draw(*size, F) for size in SIZES))
    ends = [layers.GlobalAveragePooling1D()] if not isinstance(inner(), layers.RepeatVector) else []
    equal(chain(Masking(), TimeDistributed(inner()), *ends), *masked_inputs("holes"))


# --- layers without masks ---------------------------------------------------------------------------------

ELEMENTWISE = sorted(set(activations.__all__) - {"get", "glu", "sparsemax", "threshold"})


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_activations(equal, name):
    x = np.concatenate([draw(2, 3, 4), [[[-30.0, 30.0, 0.0, -0.0]] * 3]]).astype("float32")
    if name == "exponential":
        x = x.clip(-30, 3)
    equal(chain(Activation(name), shape=(3, 4)), x)
    equal(chain(Dense(2, activation=name)), draw(2, 3, F))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: Dense(2, use_bias=False), (F,)),
        (lambda: Lambda(activations.glu), (None, 4)),
        (lambda: Dense(2), (4, 5, F)),
        (lambda: layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2), (None, F)),
        (lambda: layers.LeakyReLU(0.3), (None, F)),
        (lambda: layers.Softmax(axis=1), (None, F)),
        (lambda: layers.Softmax(axis=[1, 2]), (None, F)),
        (lambda: Dropout(0.5), (F,)),
        (lambda: layers.SpatialDropout1D(0.5), (None, F)),
        (lambda: layers.GaussianNoise(1.0), (F,)),
        (lambda: layers.GaussianDropout(0.5), (F,)),
        (lambda: layers.ActivityRegularization(1.0), (F,)),
        (lambda: Dense(2, activity_regularizer="l2"), (F,)),
        (lambda: layers.RepeatVector(3), (F,)),
        (lambda: layers.Flatten(), (5, F)),
        (lambda: layers.Flatten(), (None, F)),
        (lambda: layers.Flatten(), ()),
        (lambda: layers.Flatten("channels_first"), (None, F)),
        (lambda: layers.Reshape((F, 5)), (5, F)),
        (lambda: layers.Reshape((-1, 1)), (None, F)),
        (lambda: layers.Reshape((5, 1, F)), (5, F)),
        (lambda: layers.Reshape((5, 3)), (None, F)),
        (lambda: layers.Permute((2, 1)), (None, F)),
        (lambda: layers.Permute((3, 1, 2)), (None, 2, F)),
        (lambda: layers.GlobalAveragePooling1D(), (None, F)),
        (lambda: layers.GlobalAveragePooling1D("channels_first", keepdims=True), (F, None)),
        (lambda: layers.GlobalMaxPooling1D(), (None, F)),
        (lambda: layers.GlobalMaxPooling1D("channels_first", keepdims=True), (F, None)),
        (lambda: layers.LayerNormalization(), (None, F)),
        (lambda: layers.LayerNormalization(axis=[1, 2], epsilon=0.1), (5, F)),
        (lambda: layers.LayerNormalization(axis=1, center=False), (5, F)),
        (lambda: layers.LayerNormalization(scale=False), (F,)),
        (lambda: tinyrnn.Sequential([Dense(4), Dropout(0.2), tinyrnn.Sequential([LSTM(2)])]), (None, F)),
        (lambda: Lambda(lambda x: x * 2.0 + 1.0), (None, F)),
    ],
)
def test_plain_layers(equal, layer, shape):
    model = chain(layer(), shape=shape)
    run = equal(model, *(draw(batch, *(5 if n is None else n for n in shape)) for batch in (2, 1, 9)))
    for symbolic, exported in (
        (model.inputs[0], run.get_inputs()[0]),
        (model.outputs[0], run.get_outputs()[0]),
    ):
        known = [n if isinstance(n, int) else None for n in exported.shape]
        assert known == [None, *symbolic.shape[1:]]
        assert exported.shape[0] == "batch"


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.exp(-x) / (1.0 + ops.sqrt(ops.abs(x))) - ops.square(x) ** 3,
        lambda x: ops.log(1.0 + x * x) + ops.log1p(x * x) + ops.expm1(x) + ops.sin(x) * ops.cos(x) + 2.0**x,
        lambda x: ops.maximum(x, 0.5) + ops.minimum(x, ops.sign(x)) + ops.clip(x, low=-0.1, high=0.3),
        lambda x: ops.where(ops.greater(x, 0.0), ops.erf(x), x) + ops.where(x <= 1.0, x, 0.0),
        lambda x: ops.where(ops.equal(x, x), x, 0.0) + ops.where(ops.not_equal(x, x), 1.0, x),
        lambda x: ops.where(x >= 1.0, 1.0, x) + ops.where(x < 1.0, x, -1.0),
        lambda x: ops.max(x, axis=1) - ops.min(x, axis=1) + ops.sum(x, axis=-2) + ops.mean(x, axis=1),
        lambda x: ops.sum(x, axis=(1, 2), keepdims=True) + x,
        lambda x: ops.var(x, axis=-1) + ops.norm(x, axis=-1) + ops.logsumexp(x, axis=-1),
        lambda x: ops.cast(ops.argmax(x, axis=-1), dtype="float32"),
        lambda x: ops.cumsum(x, axis=1) + ops.flip(x, axis=1) + ops.flip(x, axis=(-1,)),
        lambda x: ops.matmul(x, ops.swapaxes(x, axis1=1, axis2=2)),
        lambda x: x[:, -1] + x[:, 0] + x[:, 1:].sum(axis=1),
        lambda x: x[:, ::-2, 1:] * x[..., None, 0][:, ::-2] + x[:, -1, 2:][:, None],
        lambda x: ops.concatenate([x, x[:, :2], x[:, 1:3]], axis=1),
        lambda x: ops.stack([x, 2.0 * x], axis=2),
        lambda x: ops.squeeze(ops.expand_dims(x, axis=1), axis=1) + x.reshape(x.shape[0], -1, F),
        lambda x: ops.transpose(x, axes=(0, 2, 1)),
        lambda x: ops.broadcast_to(ops.sum(x, axis=1, keepdims=True), shape=(x.shape[0], 2, F)),
        lambda x: x * np.arange(F, dtype="float32"),
    ],
)
def test_operations(equal, function):
    model = chain(Lambda(function))
    equal(model, draw(2, 5, F), draw(1, 7, F))


def test_layers_of_ones_own(equal):
    class Scale(Layer):
        supports_masking = True

        def build(self, input_shape):
            self.factor = self.add_weight((input_shape[-1],), "ones", "factor")

        def call(self, inputs, mask=None, training=False):
            y = inputs * self.factor if not training else inputs
            return y if mask is None else ops.where(ops.expand_dims(mask, axis=-1), y, -1.0)

    equal(chain(Masking(), Scale(), LSTM(U, return_sequences=True)), *masked_inputs("left"))


def test_a_softmax_over_masked_steps(equal):
    attention = tinyrnn.Sequential([Input((None,)), layers.Softmax()])
    equal(chain(Masking(), LSTM(U, return_sequences=True), Dense(1), attention), *masked_inputs("holes"))


def test_a_functional_chain_with_a_shared_layer(equal):
    words = Input((None,), dtype="int32", name="words")
    dense = Dense(F, activation="tanh", name="shared")
    x = dense(Embedding(4, F, mask_zero=True)(words))
    model = randomize(tinyrnn.Model(words, GRU(U, name="last")(dense(x)), name="tagger"))
    run = equal(model, *(ids(*size) for size in SIZES))
    assert [run.get_inputs()[0].name, run.get_outputs()[0].name] == ["words", "last"]


# --- the file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [18, 20, min(22, onnx.defs.onnx_opset_version())])
def test_opsets(equal, tmp_path, opset):
    of_layers = [Masking(), Bidirectional(LSTM(U, return_sequences=True)), layers.LayerNormalization()]
    of_layers += [TimeDistributed(Dense(3, activation="gelu")), GRU(U), layers.RepeatVector(2), SimpleRNN(2)]
    equal(chain(*of_layers), *masked_inputs("left"), opset=opset)
    (version,) = onnx.load(tmp_path / "model.onnx").opset_import
    assert (version.domain, version.version) == ("", opset)


@pytest.mark.filterwarnings("ignore:.* does not pass a mask on")
@pytest.mark.parametrize("of_layers", [
    [], [Masking(), LSTM(U, return_sequences=True)], [Bidirectional(GRU(U, return_sequences=True))],
    [TimeDistributed(Dense(2))], [Masking(), TimeDistributed(layers.Softmax())],
])  # fmt: skip
def test_axes_have_names(equal, of_layers):
    run = equal(chain(*of_layers, Dense(5)), draw(2, 3, F))
    assert run.get_inputs()[0].shape == ["batch", "time", F]
    assert run.get_outputs()[0].shape == ["batch", "time", 5]
    turned = chain(*of_layers, layers.Permute((2, 1), name="turned"), layers.Reshape((-1, 1), name="last"))
    assert equal(turned, draw(2, 3, F)).get_outputs()[0].shape == ["batch", "last_axis_1", 1]


def test_what_the_file_holds(tmp_path):
    model = chain(Dense(2), LSTM(U), Dense(2), shape=(6, F))
    before = model.predict(draw(2, 6, F), verbose=0)
    export_onnx(model, str(tmp_path / "new" / "model.onnx"))
    proto = onnx.load(tmp_path / "new" / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert (proto.producer_name, proto.producer_version) == ("tinyrnn", tinyrnn.__version__)
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in proto.graph.initializer}
    for w in model.layers[0].weights + model.layers[2].weights:
        np.testing.assert_array_equal(constants[w.path], w.numpy())
    assert session(tmp_path / "new" / "model.onnx").get_inputs()[0].shape == ["batch", 6, F]
    np.testing.assert_array_equal(model.predict(draw(2, 6, F), verbose=0), before)
    model.compile("sgd", "mse")
    model.fit(draw(2, 6, F), draw(2, 2), verbose=0)  # exporting leaves nothing behind in the layers


def test_any_batch_though_the_model_names_one(equal):
    equal(chain(layers.Flatten(), Dense(2), shape=(5, F), batch_size=2), draw(3, 5, F))


def test_the_steps_of_a_mask_are_sorted_once(equal, tmp_path):
    equal(chain(Masking(), Bidirectional(LSTM(U, return_sequences=True)), GRU(U)), *masked_inputs("holes"))
    nodes = onnx.load(tmp_path / "model.onnx").graph.node
    assert [node.op_type for node in nodes].count("ScatterElements") == 1
    assert [node.op_type for node in nodes].count("LSTM") == 2


def test_a_graph_that_is_not_valid_is_not_written(tmp_path, monkeypatch):
    def refuse(proto, full_check):
        raise onnx.checker.ValidationError(f"{type(proto).__name__}, full_check={full_check}")

    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(onnx.checker.ValidationError, match="ModelProto, full_check=True"):
        export_onnx(chain(Dense(2)), tmp_path / "x")
    assert not (tmp_path / "x").exists()


# --- what cannot be exported ------------------------------------------------------------------------------


class OwnModel(tinyrnn.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


class OwnCell(LSTMCell):
    pass


class OwnWrapper(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Dense(2)

    def call(self, inputs):
        return self.inner(inputs)


class Raw(Layer):
    def call(self, inputs):
        return inputs * inputs.numpy().mean()


def branches():
    x = Input((None, F))
    return tinyrnn.Model(x, layers.Add(name="a")([x, Dense(F)(x)]))


def given_states():
    x = Input((None, F))
    state = Dense(U)(layers.GlobalMaxPooling1D()(x))
    return tinyrnn.Model(x, GRU(U, name="a")(x, initial_state=state))


def several(inputs, outputs):
    xs = [Input((F,)) for _ in range(inputs)]
    y = layers.add(xs) if inputs > 1 else xs[0]
    return tinyrnn.Model(xs, [Dense(2)(y) for _ in range(outputs)], name="a")


def own_model():
    model = OwnModel(name="a")
    model(draw(2, F))
    return model


CHAIN = "supported are Sequential models and functional ones that are a chain of layers"


FIRST = Lambda(lambda x: x[0])  # of several results


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: chain(LSTM(U, return_state=True, name="a"), FIRST.clone()), "a: .* return_state=True"),
        (lambda: chain(LSTM(U, stateful=True, name="a"), batch_size=2), "a: .* stateful=True"),
        (lambda: chain(Bidirectional(LSTM(U, return_state=True), name="a"), FIRST.clone()),
         "a: .* return_state=True"),
        (lambda: chain(Bidirectional(LSTM(U), None, name="a"), FIRST.clone()), "a: .* two outputs"),
        (lambda: chain(RNN(OwnCell(U), name="a")), "a: .* OwnCell has no operator .* LSTM and GRU"),
        (lambda: chain(RNN([LSTMCell(U), GRUCell(U)], name="a")), "a: .* StackedRNNCells has no operator"),
        (lambda: chain(LSTM(U, activation="gelu", name="a")),
         "a: .* activation: ONNX's LSTM has no gelu; supported are elu, hard_sigmoid, leaky_relu, "),
        (lambda: chain(GRU(U, recurrent_activation=lambda x: x, name="a")),
         "a: .* recurrent_activation: ONNX's GRU has no <lambda>"),
        (lambda: chain(LSTM(U, dtype="float64", name="a")), "a: .* computes in float64; .* is float32"),
        (lambda: chain(Activation("sparsemax", name="a")), "a: this Activation .* more than operators and"),
        (lambda: chain(OwnWrapper(name="a")), "a: this OwnWrapper .* has layers inside"),
        (lambda: chain(Raw(name="a")), "a: this Raw .* no numbers before the graph runs"),
        (lambda: chain(Lambda(lambda x: ops.unstack(x, axis=1)[0], name="a"), shape=(2, F)),
         "a: .* ops.unstack has no counterpart"),
        (lambda: chain(Lambda(lambda x: np.ones((2, 3), "float32"), (3,), name="a")),
         "a: .* expected one output computed from the input"),
        (lambda: chain(Lambda(lambda x: x if ops.sum(x) > 0 else -x, name="a")), "a: .* a branch on a value"),
        (lambda: chain(TimeDistributed(Raw(name="a"))), "a: this Raw cannot be exported"),
        (branches, f"a: this Add .* more than one input; {CHAIN}"),
        (given_states, f"a: this GRU .* more than one input; {CHAIN}"),
        (lambda: several(2, 1), f"a: has several inputs; {CHAIN}"),
        (lambda: several(1, 2), f"a: has several outputs; {CHAIN}"),
        (own_model, f"a: a model that is a class of its own; {CHAIN}"),
        (lambda: chain(own_model()), f"a: this OwnModel .* class of its own; {CHAIN}"),
        (lambda: tinyrnn.Sequential([Dense(2)], name="a"), "a: not built yet"),
        (lambda: chain(Dense(2), dtype="int8"), "expected float or int inputs, found .*int8"),
    ],
)  # fmt: skip
def test_refusals_name_the_layer(tmp_path, make, message):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"old")
    model = make()
    with pytest.raises(ValueError, match=f"export_onnx: .*{message}"):
        export_onnx(model, path)
    assert path.read_bytes() == b"old"


def test_bad_arguments(tmp_path):
    with pytest.raises(TypeError, match="expected a model, found <Dense"):
        export_onnx(Dense(2), tmp_path / "x")
    for opset in (17, 1000):
        with pytest.raises(
            ValueError, match=re.escape(f"opset: expected 18 ... {onnx.defs.onnx_opset_version()}")
        ):
            export_onnx(chain(Dense(2)), tmp_path / "x", opset=opset)
    assert not (tmp_path / "x").exists()


def test_without_onnx_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install tinyrnn\[onnx\]"):
        export_onnx(chain(Dense(2)), tmp_path / "x")


def test_export_is_a_method_of_models(tmp_path):
    model = tinyrnn.Sequential([Input((None, 3)), LSTM(4), Dense(2)])
    model.export(tmp_path / "method.onnx")
    export_onnx(model, tmp_path / "function.onnx")
    assert (tmp_path / "method.onnx").read_bytes() == (tmp_path / "function.onnx").read_bytes()
    with pytest.raises(ValueError, match=r"\.export: unknown format 'tf_saved_model'; known is 'onnx'"):
        model.export(tmp_path / "m", "tf_saved_model")
