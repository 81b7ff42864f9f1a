# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from kuryr.cloud.calls import CallBook
from kuryr.errors import CloudUnavailable, WaitFor


def test_a_call_is_started_once_and_its_result_kept() -> None:
    book = CallBook()
    futures: list[Future[int]] = []

    def start() -> Future[int]:
        futures.append(Future())
        return futures[-1]

    for _ in range(2):
        with pytest.raises(WaitFor) as caught:
            book.run("call", start)
        assert caught.value.calls == (futures[0],)
    futures[0].set_result(7)

    assert book.run("call", start) == book.run("call", start) == 7
    assert (len(futures), len(book)) == (1, 1)

    assert book.forget("call") is futures[0]
    assert book.forget("call") is None
    with pytest.raises(WaitFor):
        book.run("call", start)
    assert len(futures) == 2


def test_an_error_is_raised_once() -> None:
    book = CallBook()
    failed: Future[int] = Future()
    failed.set_exception(CloudUnavailable("away"))
    succeeded: Future[int] = Future()
    succeeded.set_result(1)
    answers = iter((failed, succeeded))

    with pytest.raises(CloudUnavailable, match="away"):
        book.run("call", lambda: next(answers))
    assert len(book) == 0
    assert book.run("call", lambda: next(answers)) == 1


def test_a_call_that_is_complete_at_once_needs_no_waiting() -> None:
    complete: Future[str] = Future()
    complete.set_result("port")
    assert CallBook().run(("pod", 1), lambda: complete) == "port"


def test_a_cancelled_call_is_started_anew() -> None:
    book = CallBook()
    cancelled: Future[int] = Future()
    with pytest.raises(WaitFor):
        book.run("call", lambda: cancelled)
    cancelled.cancel()
    with pytest.raises(WaitFor) as caught:
        book.run("call", lambda: Future())
    assert caught.value.calls != (cancelled,)


def test_a_start_that_fails_leaves_nothing() -> None:
    book = CallBook()

    def start() -> Future[int]:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        book.run("call", start)
    assert len(book) == 0


def test_threads_that_ask_together_start_one_call() -> None:
    book = CallBook()
    started: list[Future[int]] = []
    together = threading.Barrier(8)

    def start() -> Future[int]:
        started.append(Future())
        return started[-1]

    def ask() -> None:
        together.wait()
        with pytest.raises(WaitFor):
            book.run("call", start)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(started) == 1
