"""The stand-in for CuPy: refuses what CuPy refuses, counts what CuPy does, computes what NumPy computes."""

import copy
import sys

import numpy as np
import pytest


@pytest.fixture
def a(standin):
    return standin.asarray(np.arange(6, dtype="float32").reshape(2, 3))


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mixed",
    [
        lambda xp, a: a + np.ones(3),
        lambda xp, a: np.ones(3) + a,
        lambda xp, a: a @ np.ones(3),
        lambda xp, a: np.ones((2, 2)) @ a,
        lambda xp, a: a > np.ones(3),
        lambda xp, a: a.__iadd__(np.ones(3, "float32")),
        lambda xp, a: np.ones(3).__iadd__(a[0]),
        lambda xp, a: xp.concatenate([a, np.ones((2, 3))]),
        lambda xp, a: xp.where(a > 0, np.ones(3), a),
        lambda xp, a: xp.where(np.ones(3, bool), a, a),
        lambda xp, a: xp.sum(np.ones(3)),
        lambda xp, a: xp.sum([1.0, 2.0]),
        lambda xp, a: xp.tanh(np.ones(3)),
        lambda xp, a: np.add(a, a, out=np.ones((2, 3))),
        lambda xp, a: np.asarray(a),
        lambda xp, a: np.array([a[0, 0], a[0, 1]]),
        lambda xp, a: a.clip(np.zeros(3), 1),
        lambda xp, a: xp.sum(a, where=True),  # not a parameter of CuPy's
        lambda xp, a: xp.clip(a, min=0),
    ],
)
def test_host_and_device_do_not_mix(standin, a, mixed):
    with pytest.raises(TypeError):
        mixed(standin, a)


@pytest.mark.parametrize("x", [2, 2.0, True, np.float32(2), np.float64(2), np.int64(2)])
def test_numbers_mix_by_the_rules_of_numpy(standin, a, x):
    host = a.get()
    for f in (lambda a: a + x, lambda a: x * a, lambda a: x - a, lambda a: a**x, lambda a: a >= x):
        found, expected = f(a), f(host)
        assert isinstance(found, standin.ndarray)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.get(), expected)


def test_assignments_of_host_arrays_are_refused(standin, a):
    for index in (slice(None), ..., 0):
        with pytest.raises(ValueError, match="non-scalar"):
            a[index] = np.ones(3, "float32")
    with pytest.raises(ValueError, match="non-scalar"):
        standin.copyto(a, np.ones((2, 3), "float32"))
    a[0] = np.float32(7)
    assert a.get()[0].tolist() == [7, 7, 7]


def test_what_it_lacks_is_named(standin):
    with pytest.raises(AttributeError, match="no 'errstate'"):
        standin.errstate  # noqa: B018
    with pytest.raises(NotImplementedError, match=r"logical_or\.accumulate"):
        standin.logical_or.accumulate(standin.ones(3, bool))


def test_objects_are_refused(standin):
    for x in (["a"], np.array([None])):
        with pytest.raises(ValueError, match="Unsupported dtype"):
            standin.asarray(x)


# --- counts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "waits",
    [
        lambda xp, a: a.get(),
        lambda xp, a: xp.asnumpy(a),
        lambda xp, a: a.tolist(),
        lambda xp, a: a[0, 0].item(),
        lambda xp, a: float(a[0, 0]),
        lambda xp, a: int(a[0, 0]),
        lambda xp, a: bool(a[0, 0]),
        lambda xp, a: a[a > 1],
        lambda xp, a: a.__setitem__(a > 1, 0.0),
        lambda xp, a: a.nonzero(),
        lambda xp, a: xp.nonzero(a),
        lambda xp, a: xp.where(a),
        lambda xp, a: xp.flatnonzero(a),
        lambda xp, a: xp.unique(a),
        lambda xp, a: repr(a),
        lambda xp, a: f"{a[0, 0]:.3f}",
        lambda xp, a: 1.0 in a[0],
    ],
)
def test_what_the_host_waits_for_is_counted(standin, a, waits):
    before = standin.copies.to_host
    waits(standin, a)
    assert standin.copies.to_host > before
    with standin.no_host_copies(), pytest.raises(standin.HostCopyError, match="a copy to the host"):
        waits(standin, a)
    waits(standin, a)


def test_what_stays_on_the_device_copies_nothing(standin, a):
    rows = standin.asarray(np.array([1, 0, 1]))
    before = standin.copies.to_device
    with standin.no_host_copies():
        b = standin.tanh(a) * 2 + a.sum(axis=0) / a.max()
        b[0] = a[1]
        b[rows[0]] += b[rows].sum(axis=0)
        standin.add.at(b, rows, 1.0)
        copy.deepcopy(b)
        standin.allclose(a, b)
    assert (standin.copies.to_host, standin.copies.to_device) == (0, before)
    a[[0, 1]]
    assert standin.copies.to_device == before + 1


def test_views_are_no_launches(standin, a):
    before = standin.copies.launches
    b = a.reshape(3, 2).T[1:, ::-1][..., None].transpose(2, 0, 1)
    standin.broadcast_to(standin.squeeze(standin.moveaxis(b, 0, 1)), (4, 1, 3))
    a.astype("float32", copy=False)
    standin.ascontiguousarray(a)
    assert standin.copies.launches == before
    b[...] = 5.0
    assert standin.copies.launches == before + 1
    assert a.get().tolist() == [[0, 5, 2], [5, 4, 5]]
    a + 1
    a.T.copy()
    standin.ascontiguousarray(a.T)
    standin.zeros(3)
    assert standin.copies.launches == before + 5
    standin.empty(3)
    assert standin.copies.launches == before + 5


def test_a_number_of_an_array_is_a_view(standin, a):
    corner, total = a[0, 0], a.sum()
    for x in (corner, total, a.max(), a.argmax(), a.all(), standin.vdot(a, a)):
        assert isinstance(x, standin.ndarray)
        assert x.shape == ()
    corner += 1.0
    assert a.get()[0, 0] == 1


def test_memory_is_accounted_for(standin):
    standin.free_bytes = 1000
    a = standin.ones(100, "float32")
    b = a[50:]
    assert standin.free_bytes == 600
    with pytest.raises(MemoryError, match="Out of memory allocating 800 bytes") as e:
        standin.ones(200, "float32")
    assert isinstance(e.value, standin.cuda.memory.OutOfMemoryError)
    del a
    assert standin.free_bytes == 600
    del b
    assert standin.free_bytes == 1000


def test_fresh_memory_is_poisoned(standin):
    assert np.isnan(standin.empty((2, 3)).get()).all()
    assert np.isnan(standin.empty_like(standin.ones((2, 3), "float32").T).get()).all()
    assert (standin.empty(3, "int64").get() == -1).all()


# --- values -----------------------------------------------------------------------------------------------

INDEXED = [
    0, -1, (1, 2), (..., 0), (slice(None), 1), slice(None, None, -1), (None, 0), (..., None),
    ([1, 0],), ([1, 0], [2, 2]), (slice(None), [2, 0]), (0, [2, 0]), ([[0], [1]], [0, 2]),
]  # fmt: skip


@pytest.mark.parametrize("index", INDEXED, ids=str)
def test_indices(standin, a, index):
    host = a.get()
    on_device = index
    if isinstance(index, tuple):
        on_device = tuple(standin.asarray(i) if isinstance(i, list) else i for i in index)
    np.testing.assert_array_equal(a[on_device].get(), host[index])
    a[on_device] = 9
    host[index] = 9
    np.testing.assert_array_equal(a.get(), host)


def test_indices_out_of_range_wrap_around(standin, a):
    rows = standin.asarray(np.array([2, -3]))
    np.testing.assert_array_equal(a[rows].get(), a.get()[[0, 1]])
    np.testing.assert_array_equal(a[..., rows + 1].get(), a.get()[:, [0, 1]])
    np.testing.assert_array_equal(a.take(rows, axis=0).get(), a.get()[[0, 1]])
    with pytest.raises(IndexError):
        a[2]


def test_numpy_hands_over(standin, a):
    for f in (np.tanh, np.sum, lambda a: np.concatenate([a, a]), lambda a: np.add(a, 1), np.zeros_like):
        found = f(a)
        assert isinstance(found, standin.ndarray)
        np.testing.assert_array_equal(found.get(), f(a.get()))


def test_an_accumulation_adds_up_what_is_repeated(standin):
    a, rows = standin.zeros(3), standin.asarray(np.array([0, 2, 0]))
    standin.add.at(a, rows, standin.asarray(np.array([1.0, 2, 4])))
    assert a.get().tolist() == [5, 0, 2]
    with pytest.raises(TypeError, match="only supports"):
        standin.add.at(standin.zeros(3, "int64"), rows, 1)


def test_it_is_there_for_one_test(standin):
    import cupy
    from cupyx.scipy.special import erf

    assert cupy is standin
    np.testing.assert_allclose(erf(standin.asarray(np.array([0.5]))).get(), [0.5204998778130465])


def test_it_is_gone_after_the_test():
    assert getattr(sys.modules.get("cupy"), "__name__", None) != "cupy_standin"
