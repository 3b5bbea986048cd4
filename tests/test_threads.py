"""The threads of compiled loops: how work is split, posted and waited for; large products."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyrnn import blas, threads
from tinyrnn.native import matmul, team
from tinyrnn.native.files import load
from tinyrnn.native.matmul import multiply


@pytest.fixture
def several():
    """Let three threads work."""
    threads.set_num_threads(3)
    yield
    threads.set_num_threads(None)


# --- splitting --------------------------------------------------------------------------------------------


@given(
    rows=st.integers(1, 300),
    heaviest=st.integers(0, 9),
    parts=st.integers(1, 9),
    multiple=st.sampled_from([1, 4, 8]),
    seed=st.integers(0, 999),
)
@settings(max_examples=200)
def test_rows_are_split_into_even_ranges(rows, heaviest, parts, multiple, seed):
    weights = np.random.default_rng(seed).integers(0, heaviest + 1, rows)
    ranges = threads.split(weights, parts, multiple)
    assert 1 <= len(ranges) <= parts
    assert [row for lo, hi in ranges for row in range(lo, hi)] == list(range(rows))
    assert all(lo < hi and lo % multiple == 0 for lo, hi in ranges)
    uneven = heaviest * (multiple + 1)  # a border lies up to a row, and half a block, from the ideal
    assert all(weights[lo:hi].sum() <= weights.sum() / parts + uneven for lo, hi in ranges)


def test_no_rows_are_no_ranges():
    assert threads.split(np.zeros(0), 3) == []


def test_number_of_threads(monkeypatch):
    monkeypatch.delenv("TINYRNN_NUM_THREADS", raising=False)
    threads.set_num_threads(None)
    try:
        assert 1 <= threads.get_num_threads() <= os.cpu_count()
        monkeypatch.setenv("TINYRNN_NUM_THREADS", "7")
        threads.set_num_threads(2)
        assert threads.get_num_threads() == 2
        threads.set_num_threads(None)
        assert threads.get_num_threads() == 7
    finally:
        monkeypatch.undo()
        threads.set_num_threads(None)


@pytest.mark.parametrize("bad", ["0", "-1", "1.5", "two", "", " "])
def test_a_bad_number_of_threads(monkeypatch, bad):
    monkeypatch.setenv("TINYRNN_NUM_THREADS", bad)
    threads.set_num_threads(None)
    with pytest.raises(ValueError, match=f"TINYRNN_NUM_THREADS: expected a number .* found '{bad}'"):
        threads.get_num_threads()
    with pytest.raises(ValueError, match="number: expected a number of threads from 1 on, found"):
        threads.set_num_threads(bad)


@given(rows=st.integers(0, 300), parts=st.integers(1, 9), multiple=st.sampled_from([1, 8, 64]))
def test_ranges_cover_all_rows(rows, parts, multiple):
    ranges = threads.ranges(rows, parts, multiple)
    assert 1 <= len(ranges) <= parts
    assert [row for lo, hi in ranges for row in range(lo, hi)] == list(range(rows))
    sizes = ranges[:, 1] - ranges[:, 0]
    assert all(size == sizes[0] and size % multiple == 0 for size in sizes[:-1])


# --- posting ----------------------------------------------------------------------------------------------

PARTS = '''"""Parts of a loop."""
import numpy as np

from tinyrnn.native.jit import *
from tinyrnn.native.team import *


@parallel
def count(part, out, by):
    for k in range(1000):
        out[part] += by

@parallel
def reserve_memory(part, sizes, out):
    out[part] = len(np.empty(sizes[part], np.uint8))
'''
count, reserve_memory = load(PARTS, "Parts").count, load(PARTS, "Parts").reserve_memory


@pytest.mark.parametrize("parts", [0, 1, 2, 5])
def test_parts_are_done_where_nobody_helps(parts):
    out = np.zeros(5)
    count(team.make_mailbox(), parts, out, 1.5)
    np.testing.assert_array_equal(out, [1500.0] * parts + [0.0] * (5 - parts))


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_every_part_is_done_once(parts):
    out = np.zeros(parts)
    for _ in range(500):
        count(threads.mailbox(parts), parts, out, 1.0)
    np.testing.assert_array_equal(out, np.full(parts, 500_000.0))


def test_a_busy_mailbox_makes_no_one_wait():
    out, mailbox = np.zeros(3), team.make_mailbox()
    assert team.reserve(mailbox)
    assert not team.reserve(mailbox)
    count(mailbox, 3, out, 1.0)
    np.testing.assert_array_equal(out, [1000.0] * 3)
    assert not team.reserve(mailbox)  # it is still the other's
    team.release(mailbox)
    assert team.reserve(mailbox)


@pytest.mark.usefixtures("several")
def test_threads_that_post_at_once_get_their_own_work_done():
    def work(_):
        out = np.zeros(3)
        for _ in range(200):
            count(threads.mailbox(3), 3, out, 1.0)
        return out

    with ThreadPoolExecutor(4) as pool:
        for out in pool.map(work, range(8)):
            np.testing.assert_array_equal(out, [200_000.0] * 3)


def until(condition):
    stop = time.monotonic() + 60
    while not condition() and time.monotonic() < stop:
        time.sleep(0.001)
    return condition()


@pytest.mark.usefixtures("several")
def test_threads_sleep_when_nothing_comes_and_are_woken():
    out = np.zeros(3)
    for rounds in (1, 2):
        mailbox = threads.mailbox(3)
        assert not threads._team._asleep
        count(mailbox, 3, out, 1.0)
        np.testing.assert_array_equal(out, [1000.0 * rounds] * 3)
        assert until(lambda: len(threads._team._asleep) == len(threads._team._threads) >= 2)


@pytest.mark.parametrize("failing", [0, 1])
def test_a_part_without_memory_is_an_error(failing):
    sizes, out = np.array([10, 10]), np.zeros(2)
    reserve_memory(threads.mailbox(2), 2, sizes, out)
    np.testing.assert_array_equal(out, [10.0, 10.0])
    sizes[failing] = 2**62
    with pytest.raises(MemoryError, match="not enough memory for what a compiled loop needs"):
        reserve_memory(threads.mailbox(2), 2, sizes, out)
    sizes[failing] = 10
    reserve_memory(threads.mailbox(2), 2, sizes, out)  # and nothing is left of it


def test_arguments_of_other_types_than_in_the_first_call_are_refused():
    count(team.make_mailbox(), 1, np.zeros(3), 1.0)
    with pytest.raises(TypeError, match="No matching definition"):
        count(team.make_mailbox(), 1, np.zeros(3, "float32"), 1.0)


# --- products and BLAS ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    rows=st.integers(1, 300), depth=st.integers(1, 600), columns=st.integers(1, 80),
    turned=st.sampled_from(["", "a", "b", "ab"]), parts=st.integers(1, 3), frozen=st.booleans(),
)  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_large_products(dtype, rows, depth, columns, turned, parts, frozen):
    rng = np.random.default_rng(rows * depth)
    a, b = (
        rng.standard_normal((rows, depth)).astype(dtype),
        rng.standard_normal((depth, columns)).astype(dtype),
    )
    a = np.asfortranarray(a) if "a" in turned else a
    b = np.asfortranarray(b) if "b" in turned else b
    a.flags.writeable = not frozen
    found = multiply(threads.mailbox(parts), threads.ranges(rows, parts, 8), a, b)
    assert (found.dtype, found.shape, found.flags.c_contiguous) == (dtype, (rows, columns), True)
    exact = a.astype("float64") @ b.astype("float64")
    bound = (abs(a) @ abs(b)).astype("float64") * np.finfo(dtype).eps * (depth + 2)
    assert (abs(found - exact) <= bound).all()


def test_which_products_are_large(monkeypatch):
    made = []
    monkeypatch.setattr(matmul, "multiply", lambda *args: made.append(args[-1].dtype) or args[-2] @ args[-1])
    large, small = np.ones((200, 200)), np.ones((20, 20))
    for a, b in [(large, large), (small, small), (large.astype(int), large), (large.astype(int),) * 2]:
        np.testing.assert_array_equal(blas.matmul(a, b), a @ b)
    assert made == ["float64"]


def test_blas_is_quiet_until_the_last_one_leaves():
    def numbers():
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with blas.quiet_blas:
            with blas.quiet_blas:
                assert numbers() == {1}
            assert numbers() == {1}
        assert numbers() == {2}
