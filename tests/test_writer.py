import threading
import time

import pytest

from benchmarks.comparison.writer import WAITING, BackgroundWriter


def test_jobs_are_done_in_order_and_before_the_end():
    done = []
    with BackgroundWriter() as writer:
        for number in range(3 * WAITING):
            writer.put(lambda number=number: done.append(number))
    assert done == list(range(3 * WAITING))


def test_the_giver_does_not_wait_for_a_job():
    gate, done = threading.Event(), []
    with BackgroundWriter() as writer:
        writer.put(gate.wait)
        writer.put(lambda: done.append(1))
        assert not done  # both are waiting, and we are here
        gate.set()
    assert done == [1]


def test_the_error_of_a_job_is_raised_where_the_jobs_come_from():
    def fail():
        raise OSError("disk full")

    def work():
        with BackgroundWriter() as writer:
            writer.put(lambda: done.append(1))
            writer.put(fail)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                writer.put(lambda: done.append(2))
                time.sleep(0.001)

    done = []
    with pytest.raises(OSError, match="disk full"):
        work()
    assert done == [1]  # what was finished before stays finished, and nothing came after


def test_the_error_of_the_last_job_is_raised_at_the_end():
    with pytest.raises(ZeroDivisionError), BackgroundWriter() as writer:
        writer.put(lambda: 1 / 0)


def test_an_error_outside_is_not_hidden_and_jobs_are_still_done():
    def work():
        with BackgroundWriter() as writer:
            writer.put(lambda: done.append(1))
            raise KeyError

    done = []
    with pytest.raises(KeyError):
        work()
    assert done == [1]
