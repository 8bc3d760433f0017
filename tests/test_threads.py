"""Threads: the same bits for any number of them, failures that are seen, and none left behind."""

import gc
import os
import threading
import time
import traceback

import numpy as np
import pytest

from minidqn.fruit import episode
from minidqn.nn import Dense, Sequential, kernels
from minidqn.nn.threads import Crew, _openblas, available_cores, single_threaded_blas
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
    """200 updates from batches of 200: four shards, on 1, 2, 3 and 4 threads."""
    one = weights_after(1, 200, 200)
    assert len(set(one[1])) == 200
    for threads in (2, 3, 4):
        assert weights_after(threads, 200, 200) == one


def test_the_shards_add_up_to_the_batch(rng):
    """A batch in pieces has the loss and the gradient of the definition's in one."""
    model = q_network(6, rng, threads=2)
    states = rng.random((150, 1, 6, 6)).astype(np.float32)
    targets = rng.random((150, 3))
    exact = model.astype(np.float64)
    gradients, squares = np.zeros(exact.parameters.size), 0.0
    for part in np.split(np.arange(150), 5):  # each small enough to be one shard
        errors = exact.forward(states[part]) - targets[part]
        exact.backward(2 * errors / targets.size)
        gradients += exact.gradients
        squares += np.sum(errors**2)
    loss = model.train_on_batch(states, targets)
    assert np.isclose(loss, squares / targets.size, rtol=1e-5)
    scale = np.abs(gradients).max()
    np.testing.assert_allclose(model.gradients, gradients, atol=1e-5 * scale)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("pieces", [0, 1, 2, 5])
def test_every_piece_is_done_once(threads, pieces):
    before = len(ours())
    crew = Crew(threads)
    for _ in range(20):
        done = []
        crew.run(done.append, pieces)
        assert sorted(done) == list(range(pieces))
    assert len(ours()) == before + max(min(threads, pieces) - 1, 0)
    crew.close()
    assert len(ours()) == before


def test_pieces_run_side_by_side():
    """Two pieces that wait for each other only end if both are under way."""
    crew = Crew(2)
    barrier = threading.Barrier(2, timeout=30)
    crew.run(lambda piece: barrier.wait(), 2)
    crew.close()


def test_a_sleeping_thread_wakes():
    crew = Crew(2)
    done = []
    crew.run(done.append, 2)
    time.sleep(0.05)  # longer than it looks out for
    crew.run(done.append, 2)
    crew.close()
    assert sorted(done) == [0, 0, 1, 1]


def test_an_interrupted_wait_does_not_confuse_the_next_job():
    """Ctrl-C while the first thread waits for the second, which answers later."""
    crew, done = Crew(2), []
    crew.run(done.append, 2)

    def interrupt():
        raise KeyboardInterrupt

    crew._answers[0].get = interrupt
    with pytest.raises(KeyboardInterrupt):
        crew.run(lambda piece: time.sleep(0.1 * piece) or done.append(piece), 2)
    assert sorted(done) == [0, 0, 1, 1]  # the second has ended all the same
    crew.run(lambda piece: time.sleep(0.1 * piece) or done.append(piece), 2)
    assert sorted(done) == [0, 0, 0, 1, 1, 1]
    crew.close()


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


@pytest.mark.parametrize("guilty", [0, 1])
def test_a_failure_is_raised_with_its_traceback(guilty):
    crew = Crew(2)

    def fail(piece):
        if piece == guilty:
            raise ZeroDivisionError("the piece's own")

    with pytest.raises(ZeroDivisionError, match="own") as raised:
        crew.run(fail, 2)
    assert "fail" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    done = []
    crew.run(done.append, 2)  # the crew is as good as before
    assert sorted(done) == [0, 1]
    crew.close()


def test_a_worker_that_fails_stops_the_learning(rng, monkeypatch):
    model = q_network(6, rng, threads=2)
    states, before = rng.random((128, 1, 6, 6)), model.get_weights()
    model.train_on_batch(states, np.zeros((128, 3)))

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(model._shards[1].layers[0], "backward", fail)
    before = model.get_weights()
    with pytest.raises(ZeroDivisionError):
        model.train_on_batch(states, np.zeros((128, 3)))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


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
    model.train_on_batch(rng.random((64, 1, 6, 6)), np.zeros((64, 3)))
    assert len(ours()) == before


def test_blas_keeps_to_one_thread_and_gets_them_back():
    functions = _openblas()
    if functions is None:
        pytest.skip("this NumPy does not come with OpenBLAS")
    get, put = functions
    before = get()
    put(2)
    try:
        with single_threaded_blas():
            assert get() == 1
        assert get() == 2
        seen = []
        model = Sequential([Dense(1, input_shape=(1,))])
        model.layers[0].forward = lambda x: seen.append(get()) or np.zeros((len(x), 1), np.float32)
        model.predict([[0]])
        assert seen == [1]
        assert get() == 2
    finally:
        put(before)


def test_available_cores():
    assert 1 <= available_cores() <= 10_000


def test_kernels_release_the_interpreter_lock():
    tile = kernels._convolve_tile(6, 6, 3, 16, 16)
    for kernel in (kernels._convolve(tile), kernels._spread_row):
        assert kernel.targetoptions["nogil"]
