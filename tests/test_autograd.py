"""The engine: graphs, the way back, memory."""

import copy
import gc

import numpy as np
import pytest

from tinyrnn import autograd, ops
from tinyrnn.autograd import Tensor, broadcast_to, grad, is_recording, no_grad, primitive
from tinyrnn.gradcheck import gradcheck


def leaf(*values, dtype=None):
    return Tensor(list(values), requires_grad=True, dtype=dtype)


def test_gradients_accumulate_in_leaves():
    x = leaf(1.0, 2.0)
    ops.sum(x * x).backward()
    ops.sum(3.0 * x).backward()
    assert x.grad.tolist() == [5.0, 7.0]
    x.grad = None
    assert x.grad is None


def test_a_tensor_used_twice_gets_both_gradients():
    x = leaf(2.0)
    y = x * x
    ops.sum(y * y + y).backward()  # x^4 + x^2
    assert x.grad.tolist() == [36.0]


def test_array_beside_tensor_is_ours():
    x = leaf(1.0, 2.0)
    a = np.array([3.0, 4.0], np.float32)
    for y in (a * x, x * a):
        assert isinstance(y, Tensor)
        assert y.data.tolist() == [3.0, 8.0]
    assert isinstance(a[None] @ ops.reshape(x, shape=(2, 1)), Tensor)


def test_arrays_alone_give_arrays():
    y = ops.tanh(np.ones(3))
    assert type(y) is np.ndarray


def test_seed_is_needed_and_checked():
    x = leaf(1.0, 2.0)
    with pytest.raises(ValueError, match=r"shape \(2,\) needs a seed"):
        (x * x).backward()
    with pytest.raises(ValueError, match=r"expected a seed of shape \(2,\), found \(3,\)"):
        (x * x).backward(np.ones(3))
    (x * x).backward([1.0, 10.0])
    assert x.grad.tolist() == [2.0, 40.0]


def test_backward_without_history():
    with pytest.raises(RuntimeError, match="was not computed from one with requires_grad"):
        Tensor([1.0]).backward()


def test_graph_is_freed_unless_kept():
    x = leaf(3.0)
    y = x * x
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [12.0]
    with pytest.raises(RuntimeError, match="multiply: this graph was freed"):
        y.backward()


def test_no_grad_records_nothing():
    x = leaf(1.0)
    with no_grad():
        assert not is_recording()
        assert not (x * x).requires_grad
    assert is_recording()
    assert (x * x).requires_grad


def test_no_grad_as_a_decorator():
    x = Tensor(2.0, requires_grad=True)

    @no_grad()
    def power(n):
        assert not is_recording()
        return x * power(n - 1) if n else x

    assert not power(3).requires_grad
    assert is_recording()


def test_no_grad_ends_with_an_error():
    with pytest.raises(ZeroDivisionError), no_grad():
        1 / 0  # noqa: B018
    assert is_recording()


def test_integers_and_bools_carry_no_gradient():
    with pytest.raises(TypeError, match="only float tensors carry a gradient, found int"):
        Tensor([1, 2], requires_grad=True)
    x = leaf(1.5, 2.5)
    assert not ops.cast(x, dtype="int64").requires_grad


def test_grad_leaves_leaves_alone_and_gives_zeros_for_the_unused():
    x, y = leaf(2.0), leaf(1.0, 1.0)
    gx, gy = grad(ops.sum(x * x), [x, y])
    assert (gx.data.tolist(), gy.data.tolist()) == ([4.0], [0.0, 0.0])
    assert x.grad is None


def test_grad_of_something_on_the_way():
    x = leaf(2.0)
    y = x * x
    z = ops.sum(y * y)
    assert grad(z, y).data.tolist() == [8.0]
    assert grad(z, [x, y])[0].data.tolist() == [32.0]


def test_grad_without_requires_grad():
    with pytest.raises(RuntimeError, match="an input has no gradient"):
        grad(leaf(1.0), Tensor([1.0]))


def test_higher_orders():
    x = leaf(0.7, dtype="float64")
    y = ops.sum(x**5)
    for expected in (5 * 0.7**4, 20 * 0.7**3, 60 * 0.7**2, 120 * 0.7, 120.0, 0.0):
        y = grad(y, x, create_graph=True)
        np.testing.assert_allclose(y.data, [expected], rtol=1e-12)


def test_seeds_of_several_outputs():
    x = leaf(1.0, 2.0)
    g = grad([x * x, ops.sum(x)], x, [np.array([1.0, 0.5], np.float32), None])
    assert g.data.tolist() == [3.0, 3.0]


def test_seeds_can_be_differentiated():
    x, seed = leaf(3.0), leaf(1.0)
    g = grad(x * x, x, seed, create_graph=True)
    assert grad(g, seed).data.tolist() == [6.0]


def test_a_dropped_output_does_not_matter():
    x = Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    first, *_ = ops.unstack(x, axis=1)
    gc.collect()
    ops.sum(first * first).backward()
    assert x.grad.tolist() == [[0.0, 0, 0], [6.0, 0, 0]]


def test_a_chain_of_ten_thousand_steps():
    x = leaf(1.0, dtype="float64")
    y = x
    for _ in range(10_000):
        y = y * 1.0001 + 0.0
    y.backward()
    np.testing.assert_allclose(x.grad, [1.0001**10_000], rtol=1e-9)


def test_dropping_a_very_deep_graph():
    y = leaf(1.0)
    for _ in range(200_000):
        y = -y
    del y  # must not recurse through the interpreter's stack


def test_no_reference_cycles():
    def step():
        x = Tensor(np.ones((3, 4)), requires_grad=True)
        parts = ops.unstack(ops.tanh(x @ np.ones((4, 4))), axis=0)
        y = ops.concatenate([ops.exp(p) for p in parts], axis=0)
        ops.sum(y[1:3] ** 3).backward()
        grad(ops.sum(ops.sigmoid(x) * x), x, create_graph=True)

    step()
    gc.collect()
    gc.disable()
    try:
        step()
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_work_is_linear_in_length(monkeypatch):
    """Counted in numbers that flow back, not in seconds: a full-size array per step would show."""
    counted = []
    deposit = autograd._deposit
    monkeypatch.setattr(autograd, "_deposit", lambda *a: (counted.append(np.size(a[-1])), deposit(*a)))

    def work(length):
        counted.clear()
        x = Tensor(np.ones((1, length, 2)), requires_grad=True)
        h = 0.0
        for x_t in ops.unstack(x, axis=1):
            h = ops.tanh(x_t + h)
        ops.sum(h).backward()
        return sum(counted)

    assert work(400) < 4.1 * work(100)


def test_constructor():
    assert Tensor([1.0]).dtype == np.float32
    assert Tensor(np.ones(2)).dtype == np.float64
    assert Tensor([1, 2]).dtype.kind == "i"
    assert Tensor([1.0], dtype="float64").dtype == np.float64
    assert Tensor(Tensor([2.0])).data.tolist() == [2.0]


def test_looks_like_an_array():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 2), 2, 4, 2)
    assert np.asarray(x).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert [row.data.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    assert x.T.data.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert x.sum(axis=0).data.tolist() == [4.0, 6.0]
    assert x.mean().item() == 2.5
    assert float(x.max()) == 4.0
    assert x.reshape(4).shape == x.reshape((4,)).shape == (4,)
    assert "Tensor(" in repr(x)


def test_gradcheck_finds_a_wrong_gradient():
    def wrong(x):  # right in value, but one of two paths is cut off
        return x * ops.stop_gradient(x)

    with pytest.raises(AssertionError, match="gradient of order 1"):
        gradcheck(wrong, [np.array([0.5, 1.5])])


def test_gradcheck_finds_a_wrong_second_order():
    from tinyrnn.autograd import primitive

    @primitive
    def cube(x):
        return x**3

    cube.gradient(x=lambda g, x: g * 3.0 * ops.stop_gradient(x) ** 2)
    gradcheck(cube, [np.array([0.5, 1.5])], order=1)
    with pytest.raises(AssertionError, match="gradient of order 2"):
        gradcheck(cube, [np.array([0.5, 1.5])])


def test_gradcheck_wants_float64():
    with pytest.raises(TypeError, match="input 0 must be float64, found float32"):
        gradcheck(ops.exp, [np.ones(2, np.float32)])


def test_gradients_share_no_memory():
    a, b = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    seed = np.ones(2, np.float32)
    (a + b).backward(seed)
    a.grad *= 5.0
    assert b.grad.tolist() == seed.tolist() == [1.0, 1.0]
    c = Tensor([1.0, 2.0], requires_grad=True)
    ops.sum(c).backward()
    c.grad *= 2.0  # not a read-only view
    assert c.grad.tolist() == [2.0, 2.0]


def test_truth_of_many_elements():
    assert bool(Tensor([1.0]))
    with pytest.raises(ValueError, match=r"of 2 elements is not one; choose by element with ops\.where"):
        bool(Tensor([1.0, 0.0]))


def test_a_graph_and_its_copy():
    """Their nodes have the same numbers."""
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = ops.sum(x * x)
    z = copy.deepcopy(y)
    (y + z).backward()
    np.testing.assert_array_equal(x.grad, [2.0, 4.0])


def test_one_context_entered_twice():
    context = no_grad()
    with context:
        with context:
            assert not is_recording()
        assert not is_recording()
    assert is_recording()


@pytest.mark.parametrize("shape", [4, (4,), (2, 3), (), (0, 2)])
def test_a_number_broadcast(shape):
    np.testing.assert_array_equal(broadcast_to(np.float32(2.0), shape=shape), np.full(shape, 2.0, "float32"))


def test_a_number_is_not_broadcast_to_negative_lengths():
    with pytest.raises(ValueError, match="shape"):
        broadcast_to(np.float32(2.0), shape=(-1,))


def test_a_rule_that_asks_for_what_there_is_not():
    @primitive
    def thrice(x):
        return 3.0 * x

    with pytest.raises(TypeError, match="thrice: a gradient rule asks for 'y'"):
        thrice.gradient(x=lambda g, y: g)
