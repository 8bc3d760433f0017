"""Threads: the same bits for any number of them, failures that are seen, and none left behind."""

import gc
import os
import threading
import time
import traceback

import numpy as np
import pytest

import minidqn.nn.threads as crews
from minidqn.fruit import episode
from minidqn.nn import programs
from minidqn.nn.kernels import dense
from minidqn.nn.programs import Program
from minidqn.nn.threads import Crew, available_cores
from minidqn.qlearning import learn
from minidqn.replay import experience_replay
from minidqn.train import q_network


def ours():
    return [thread for thread in threading.enumerate() if thread.name == "minidqn"]


def weights_after(threads, updates, batch_size):
    """Weights after learning from random games, which do not depend on the network."""
    rng = np.random.default_rng(4)
    model = q_network(6, np.random.default_rng(5), threads=threads)
    replay = experience_replay(batch_size, rng=rng)
    next(replay)
    done = 0
    losses = []
    while done < updates:
        ep = episode(6, rng)
        S, reward = next(ep)
        while reward == 0:
            action = int(rng.integers(-1, 2))
            S_prime, reward = ep.send(action)
            batch = replay.send((S, action, reward, S_prime))
            S = S_prime
            if batch is not None and done < updates:
                losses.append(learn(model, batch))
                done += 1
    return model.parameters.tobytes(), losses


def test_the_bits_do_not_depend_on_the_threads():
    """200 updates from batches of 200, on 1, 2, 3 and 4 threads."""
    one = weights_after(1, 200, 200)
    assert len(set(one[1])) == 200
    for threads in (2, 3, 4):
        assert weights_after(threads, 200, 200) == one


def test_the_parts_add_up_to_the_batch(rng):
    """A batch in pieces has the loss and the gradient of the definition's in one."""
    model = q_network(6, rng, threads=2)
    states = rng.random((150, 1, 6, 6)).astype(np.float32)
    targets = rng.random((150, 3))
    exact = model.astype(np.float64)
    gradients, squares = np.zeros(exact.parameters.size), 0.0
    for part in np.split(np.arange(150), 5):
        errors = exact.forward(states[part]) - targets[part]
        exact.backward(2 * errors / targets.size)
        gradients += exact.gradients
        squares += np.sum(errors**2)
    loss = model.train_on_batch(states, targets)
    assert np.isclose(loss, squares / targets.size, rtol=1e-5)
    scale = np.abs(gradients).max()
    np.testing.assert_allclose(model.gradients, gradients, atol=1e-5 * scale)


def product(rng):
    """A program that multiplies matrices, where it puts the result, and the result."""
    x, kernel, bias = (
        rng.random(shape).astype(np.float32) for shape in ((200, 30), (30, 40), (40,))
    )
    y, program = np.zeros((200, 40), np.float32), Program()
    program.do(*dense(x, kernel, bias, False, y))
    return program, y, x @ kernel + bias


def test_a_sleeping_thread_wakes(rng):
    """However long a thread has had nothing to do: looking out, falling asleep or asleep."""
    crew = Crew(2)
    program, y, expected = product(rng)
    for pause in (0, 1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 2e-2, 5e-2) * 5:
        time.sleep(pause)
        y[...] = 0
        crew.run(program, 200)
        np.testing.assert_allclose(y, expected, rtol=1e-5)
    crew.close()


def test_a_thread_that_does_not_start(rng, monkeypatch):
    """The error is the system's, no thread is left behind, and the next try may succeed."""
    before, started = len(ours()), []
    start = threading.Thread.start

    def fail_second(thread):
        if len(started) == 1:
            raise RuntimeError("can't start new thread")
        started.append(start(thread))

    crew = Crew(3)
    program, y, expected = product(rng)
    monkeypatch.setattr(threading.Thread, "start", fail_second)
    with pytest.raises(RuntimeError, match="can't start"):
        crew.run(program, 200)
    assert len(ours()) == before
    monkeypatch.undo()
    crew.run(program, 200)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    crew.close()
    assert len(ours()) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks of threaded processes
def test_a_forked_process_starts_threads_of_its_own(rng):
    model = q_network(6, rng, threads=2)
    states = rng.random((128, 1, 6, 6))
    expected = model.predict(states)
    child = os.fork()
    if child == 0:
        same = np.array_equal(model.predict(states), expected)
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.01)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert status == 0


def test_threads_wait_for_each_other(rng):
    """One network, two callers: both get what is theirs."""
    model = q_network(6, rng, threads=2)
    inputs = rng.random((2, 100, 1, 6, 6))
    expected = [model.predict(states) for states in inputs]
    wrong = []

    def call(who):
        for _ in range(100):
            if not np.array_equal(model.predict(inputs[who]), expected[who]):
                wrong.append(who)

    callers = [threading.Thread(target=call, args=(who,)) for who in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_no_thread_outlives_its_network(rng):
    gc.collect()
    before = len(ours())
    model = q_network(6, rng, threads=2)
    model.train_on_batch(rng.random((128, 1, 6, 6)), np.zeros((128, 3)))
    assert len(ours()) == before + 1
    del model
    gc.collect()
    assert len(ours()) == before


def test_a_small_batch_needs_no_thread(rng):
    before = len(ours())
    model = q_network(6, rng, threads=2)
    model.predict(rng.random((1, 1, 6, 6)))
    assert len(ours()) == before


def test_available_cores():
    assert 1 <= available_cores() <= 10_000


@pytest.mark.parametrize("early", [False, True])
def test_an_interrupted_call_does_not_confuse_the_next(early, rng, monkeypatch):
    """Ctrl-C after the helpers have been woken, before the work or just after it."""
    crew = Crew(2)
    program, y, expected = product(rng)
    other, other_y, other_expected = product(rng)
    crew.run(program, 200)
    real, calls = crews.work, []

    def interrupted(*arguments):
        calls.append(arguments)
        interrupts = len(calls) % 2 == 1
        if not (early and interrupts):
            real(*arguments)
        if interrupts:
            raise KeyboardInterrupt

    monkeypatch.setattr(crews, "work", interrupted)
    for _ in range(50):
        y[...] = other_y[...] = 0
        with pytest.raises(KeyboardInterrupt):
            crew.run(program, 200)
        crew.run(other, 200)
        np.testing.assert_allclose(y, 0 * expected if early else expected, rtol=1e-5)
        np.testing.assert_allclose(other_y, other_expected, rtol=1e-5)
    crew.close()


def test_a_helper_that_fails_is_not_waited_for(rng, monkeypatch):
    crew, before = Crew(2), len(ours())
    program, y, expected = product(rng)

    def fail(*_):
        raise MemoryError("the helper's own")

    monkeypatch.setattr(crews, "_help", fail)

    def run_often():
        for _ in range(1000):
            crew.run(program, 200)

    with pytest.raises(MemoryError, match="own") as raised:
        run_often()
    assert "fail" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    monkeypatch.undo()
    y[...] = 0
    crew.run(program, 200)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    crew.close()
    assert len(ours()) == before


def test_a_closed_crew_works_alone(rng):
    model = q_network(6, rng, threads=2)
    model.train_on_batch(rng.random((64, 1, 6, 6)), np.zeros((64, 3)))
    optimizer, parameters, gradients = model.optimizer, model.parameters, model.gradients
    del model
    gc.collect()
    before = len(ours())
    optimizer.update(parameters, gradients)
    assert len(ours()) == before


def test_who_comes_late_reads_nothing_of_what_has_ended(rng):
    """A program's memory may be gone once all its parts are done."""
    crew = Crew(2)
    program, y, expected = product(rng)
    crew.run(program, 200)
    board = crew._board.copy()
    crew.close()
    board[programs.PROGRAM] = 8  # nobody can read there and live
    programs.take_parts(board, 1)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
