"""Programs: what is compiled does what the plain Python says, for any number of threads."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidqn.nn import kernels, programs
from minidqn.nn.programs import Job, Program, address_of, compiled
from minidqn.nn.threads import Crew

pytestmark = pytest.mark.uncompiled


def _fill(span, number, out):
    """Write down who came by, and change the number so that a second visit shows."""
    for n in range(span.first, span.last):
        out[n, 0] += number + n
        out[n, 1] = 100 * span.part + span.first
        out[n, 2] = span.samples


_fill_address = address_of(_fill)


@compiled(nogil=False)
def _find_fill(kinds):
    return _fill_address(kinds)


def _gather(span, rows, out):
    """The sum of all that earlier stages have left, which must be complete."""
    total = 0.0
    for n in range(rows.shape[0]):
        total += rows[n, 0]
    for n in range(span.first, span.last):
        out[n, 0] += total


_gather_address = address_of(_gather)


@compiled(nogil=False)
def _find_gather(kinds):
    return _gather_address(kinds)


@st.composite
def descriptions(draw):
    """Jobs as tuples: kernel, chunk, count or None, turn."""
    size = st.integers(1, 9)
    job = st.tuples(
        st.sampled_from(["fill", "gather"]),
        size,
        st.one_of(st.none(), size),
        st.sampled_from([-1, 0, 1]),
    )
    return draw(st.lists(job, min_size=1, max_size=8))


def written(description):
    """A program, and the array that each of its jobs fills, from the one before."""
    program, arrays = Program(), [np.zeros((12, 3))]
    for number, (name, chunk, count, turn) in enumerate(description):
        arrays.append(np.zeros((12, 3)))
        if name == "fill":
            arguments, call = (number, arrays[-1]), (_fill, _find_fill)
        else:
            # A stage may only use what an earlier one has made, or its own part of this one.
            arguments, call = (arrays[0], arrays[-1]), (_gather, _find_gather)
        program.do(Job(*call, arguments, 12, chunk, count, turn))
    return program, arrays


@settings(max_examples=60)
@given(descriptions(), st.integers(0, 12), st.sampled_from([1, 2, 3]))
def test_compiled_programs_do_what_plain_ones_do(description, samples, size):
    plain, expected = written(description)
    plain.run_plainly(samples)
    program, arrays = written(description)
    crew = Crew(size)
    crew.run(program, samples)
    crew.close()
    for actual, wanted in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_stage_waits_for_the_one_before(size):
    """Many times over: each stage adds up everything the stage before has written."""
    crew = Crew(size)
    program, rows = Program(), [np.ones((40, 3))]
    for _ in range(20):
        rows.append(np.zeros((40, 3)))
        program.do(Job(_gather, _find_gather, (rows[-2], rows[-1]), 40, 3, count=40))
    for _ in range(30):
        for array in rows[1:]:
            array[...] = 0
        crew.run(program, 40)
        for stage, array in enumerate(rows):
            np.testing.assert_array_equal(array[:, 0], 40.0**stage)
    crew.close()


def test_jobs_over_samples_share_a_stage():
    program = Program()
    arguments = 1, np.zeros((12, 3))
    for chunk, count, turn in (
        (4, None, 0), (4, None, 0), (3, None, 0), (4, 12, 0), (4, 12, 0), (9, 1, 1), (4, None, 0),
        (2, 3, -1),
    ):  # fmt: skip
        program.do(Job(_fill, _find_fill, arguments, 12, chunk, count, turn))
    shapes = [(len(stage), stage[0].chunk, stage[0].count) for stage in program.stages]
    assert shapes == [(1, 2, 3), (2, 4, None), (1, 3, None), (1, 4, 12), (1, 4, 12), (1, 4, None),
                      (1, 9, 1)]  # fmt: skip


def _fail(span, out):
    if span.first == 0:
        raise ValueError("as no kernel does")


_fail_address = address_of(_fail)


@compiled(nogil=False)
def _find_fail(kinds):
    return _fail_address(kinds)


@pytest.mark.parametrize("size", [1, 2])
def test_a_kernel_that_fails_is_seen(size):
    crew, job = Crew(size), Job(_fail, _find_fail, (np.zeros(3),), 20, 8)
    program = Program()
    program.do(job)
    for _ in range(2):
        with pytest.raises((RuntimeError, ValueError), match=r"kernel"):
            crew.run(program, 20)
    with pytest.raises((RuntimeError, ValueError), match=r"kernel"):
        programs.run(job)
    fine, arrays = written([("fill", 4, None, 0)])
    crew.run(fine, 12)  # the crew is as good as before
    np.testing.assert_array_equal(arrays[1][:, 0], np.arange(12))
    crew.close()


def test_arguments_may_be_forgotten():
    """A program keeps its arrays alive."""
    program = Program()
    x, kernel, bias = (np.ones(shape, np.float32) for shape in ((9, 50), (50, 20), (20,)))
    y = np.zeros((9, 20), np.float32)
    program.do(*kernels.dense(x, kernel, bias, False, y))
    del x, kernel, bias
    crew = Crew(1)
    for _ in range(3):
        junk = [np.full(500, np.nan, np.float32) for _ in range(100)]
        crew.run(program, 9)
        np.testing.assert_array_equal(y, 51)
    del junk


def _take_long(span, out):
    for n in range(span.first, span.last):
        for k in range(30_000_000):
            out[n] = out[n] * 0.5 + k


_take_long_address = address_of(_take_long)


@compiled(nogil=False)
def _find_take_long(kinds):
    return _take_long_address(kinds)


@pytest.mark.skipif(programs.config.DISABLE_JIT, reason="plain Python holds the lock")
def test_programs_release_the_interpreter_lock():
    program, done, times = Program(), threading.Event(), []
    program.do(Job(_take_long, _find_take_long, (np.zeros(2),), 2, 1))
    program.address  # noqa: B018, compiles it

    def tick():
        while not done.is_set():
            times.append(time.perf_counter())
            time.sleep(0.001)

    ticker = threading.Thread(target=tick)
    ticker.start()
    began = time.perf_counter()
    Crew(1).run(program, 2)
    ended = time.perf_counter()
    done.set()
    ticker.join()
    assert sum(began < moment < ended for moment in times) > 10
