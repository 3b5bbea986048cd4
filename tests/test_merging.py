"""Merging layers beside Keras: values, broadcasting, masks; and what they refuse."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, compare, draw, make_mask

from tinyrnn import layers

ELEMENTWISE = ("Add", "Multiply", "Average", "Maximum", "Minimum")
masks = st.sampled_from([None, *MASKS])


def pair(n=2, shape=(4, 3, 5), seed=0):
    return [draw(*shape, seed=seed + i) for i in range(n)]


@given(
    name=st.sampled_from(ELEMENTWISE),
    n=st.integers(1, 3),
    shape=st.sampled_from([(4, 5), (4, 3, 5)]),
)
def test_elementwise(name, n, shape):
    compare(lambda library: getattr(library, name)(), pair(n, shape))


@given(name=st.sampled_from(ELEMENTWISE), kinds=st.lists(masks, min_size=2, max_size=3))
def test_elementwise_with_masks(name, kinds):
    compare(lambda library: getattr(library, name)(), pair(len(kinds)), [make_mask(k, 4, 3) for k in kinds])


@given(
    name=st.sampled_from(ELEMENTWISE),
    shapes=st.sampled_from(
        [((4, 3, 5), (4, 1, 5)), ((4, 5), (4, 3, 5)), ((4, 3, 5), (4, 1)), ((4, 3, 2, 5), (4, 2, 5))]
    ),
    swap=st.booleans(),
)
def test_broadcasting(name, shapes, swap):
    inputs = [draw(*shape, seed=i) for i, shape in enumerate(shapes[::-1] if swap else shapes)]
    compare(lambda library: getattr(library, name)(), inputs)


@given(kinds=st.tuples(masks, masks))
def test_subtract(kinds):
    compare(lambda library: library.Subtract(), pair(), [make_mask(k, 4, 3) for k in kinds])


@pytest.mark.parametrize("name", [*ELEMENTWISE, "Subtract"])
def test_integers_become_floats(name):
    counts = np.arange(20).reshape(4, 5)
    y = getattr(layers, name)()([np.float32(draw(4, 5)), counts])
    assert y.dtype == np.float32
    expected = getattr(layers, name)()([draw(4, 5), counts.astype("float32")])
    np.testing.assert_array_equal(y.data, expected.data)


def test_equal_values_share_the_gradient():
    x = draw(4, 5)
    for name in ("Maximum", "Minimum"):
        compare(lambda library, name=name: getattr(library, name)(), [x, x, np.minimum(x, 0)])


@given(axis=st.sampled_from([1, 2, -1, -2]), kinds=st.lists(masks, min_size=1, max_size=3))
def test_concatenate(axis, kinds):
    compare(lambda library: library.Concatenate(axis), pair(len(kinds)), [make_mask(k, 4, 3) for k in kinds])


def test_concatenate_different_lengths():
    a, b = draw(4, 3, 5), draw(4, 2, 5, seed=1)
    compare(
        lambda library: library.Concatenate(1), [a, b], [make_mask("right", 4, 3), make_mask("left", 4, 2)]
    )
    compare(lambda library: library.Concatenate(), [draw(4, 3), draw(4, 5)])
    masked = [make_mask("right", 4, 3), make_mask("left", 4, 2)]
    y = layers.Concatenate(1)([a, b], mask=masked)
    np.testing.assert_array_equal(y.mask, np.concatenate(masked, axis=1))


@pytest.mark.parametrize(
    ("a", "b", "axes"),
    [
        ((4, 5), (4, 5), -1),
        ((4, 5), (4, 3, 5), (1, 2)),
        ((4, 3, 5), (4, 5), (2, 1)),
        ((4, 3, 5), (4, 2, 5), 2),
        ((4, 3, 5), (4, 5, 3), (-1, -2)),
        ((4, 3, 2, 5), (4, 5), (3, 1)),
    ],
)
def test_dot(a, b, axes):
    compare(lambda library: library.Dot(axes), [draw(*a), draw(*b, seed=1)])


@pytest.mark.parametrize("axes", [1, 2])
def test_cosine(axes):
    compare(lambda library: library.Dot(axes, normalize=True), pair())


def test_dot_of_a_zero_vector_is_zero():
    y = layers.Dot(1, normalize=True)([np.zeros((2, 3)), np.ones((2, 3))])
    np.testing.assert_array_equal(y.data, [[0], [0]])


def test_dot_swallows_masks():
    compare(lambda library: library.Dot(2), pair(), [make_mask("right", 4, 3), None])


@pytest.mark.parametrize("name", [*ELEMENTWISE, "Subtract", "Concatenate", "Dot"])
def test_functions_do_the_same(name):
    inputs = pair(2, (4, 5))
    options = {"axes": 1} if name == "Dot" else {}
    expected = getattr(layers, name)(**options)(inputs)
    np.testing.assert_array_equal(getattr(layers, name.lower())(inputs, **options).data, expected.data)


@pytest.mark.parametrize("name", [*ELEMENTWISE, "Subtract", "Concatenate"])
def test_shapes_with_unknown_lengths(name):
    ours, theirs = getattr(layers, name)(), getattr(keras.layers, name)()
    for shapes in ([(None, None, 5), (None, 3, 5)], [(4, 3, 5), (None, 3, 5)], [(None, None, 5)] * 2):
        found = ours.compute_output_shape(shapes)
        expected = tuple(theirs.compute_output_shape(shapes))
        if name == "Concatenate":  # Keras looks at the first input only
            expected = (found[0], found[1], expected[2])
        assert found == expected


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_inputs_must_fit_and_it_still_works(name):
    layer = getattr(layers, name)(name="merge")
    x = draw(4, 5)
    with pytest.raises(
        ValueError, match=r"merge: expected shapes that broadcast, found shapes \(4, 5\), \(4, 6\)"
    ):
        layer([x, draw(4, 6)])
    with pytest.raises(ValueError, match=r"merge: expected one batch size, found shapes \(4, 5\), \(1, 5\)"):
        layer([x, x[:1]])
    with pytest.raises(ValueError, match=r"merge: expected a list of inputs, found shape \(4, 5\)"):
        layer(x)
    assert layer([x, x]).shape == (4, 5)


def test_what_others_refuse():
    x = draw(4, 5)
    with pytest.raises(ValueError, match="s: expected two inputs, found shapes"):
        layers.Subtract(name="s")([x, x, x])
    with pytest.raises(ValueError, match="c: expected equal lengths but along axis -1, found shapes"):
        layers.Concatenate(name="c")([draw(4, 3, 5), draw(4, 2, 5)])
    with pytest.raises(ValueError, match="c: expected inputs of one rank with an axis -1"):
        layers.Concatenate(name="c")([draw(4, 3, 5), draw(4, 5)])
    with pytest.raises(ValueError, match="c: expected inputs of one rank with an axis 2"):
        layers.Concatenate(2, name="c")([x, x])
    with pytest.raises(ValueError, match="d: expected equal lengths of the batch and of axes 1 and 1"):
        layers.Dot(1, name="d")([x, draw(4, 6)])
    with pytest.raises(ValueError, match="d: expected two inputs with axes 2"):
        layers.Dot(2, name="d")([x, x])
    for axes in (0, (1, 0), (1, 2, 3), "1", (1.0, 1)):
        with pytest.raises(ValueError, match="Dot: axes: expected one or two axes other than 0, found"):
            layers.Dot(axes)
