# SPDX-License-Identifier: Apache-2.0
"""Steps with dependencies, run side by side, with their progress shown."""

import contextvars
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from devcloud import children

_HEARTBEAT = 30.0
_GRACE = 10.0
_started = time.monotonic()
_current: contextvars.ContextVar[str] = contextvars.ContextVar("step", default="devcloud")
_printing = threading.Lock()


@dataclass(frozen=True)
class Step:
    """One thing to do; `run` is idempotent, so that `up` may be repeated at any point.

    `after` names the steps that come before it. A step whose `done` says True is not run.
    """

    name: str
    run: Callable[[], object]
    after: Sequence[str] = ()
    done: Callable[[], bool] | None = None


class StepError(Exception):
    """A step failed; names it and why. `__cause__` is what it raised."""


def note(text: str) -> None:
    """Show progress from within a step."""
    _say(f"{_current.get()}: {text}")


def run_steps(steps: Iterable[Step]) -> None:
    """Run every step once all that it comes after are done, as many at a time as there are.

    After a failure no further step is started; those under way are waited for. Raises StepError
    for the first failure, ValueError for names that do not exist or that go round in a circle.
    KeyboardInterrupt ends the commands that steps run; a step that goes on all the same is left.
    """
    left = order(steps)
    if not left:
        return
    finished: set[str] = set()
    begun: dict[Future[float | None], tuple[Step, float]] = {}
    failure: tuple[Step, BaseException] | None = None
    pool = ThreadPoolExecutor(max_workers=len(left))
    try:
        while begun or (left and failure is None):
            if failure is None:
                for step in [step for step in left if finished.issuperset(step.after)]:
                    left.remove(step)
                    begun[pool.submit(_run, step)] = (step, time.monotonic())
            ended, _ = wait(begun, timeout=_HEARTBEAT, return_when=FIRST_COMPLETED)
            if not ended:
                waiting = ", ".join(
                    f"{step.name} ({time.monotonic() - since:.0f}s)" for step, since in begun.values()
                )
                _say(f"under way: {waiting}")
            for future in ended:
                step, _ = begun.pop(future)
                error = future.exception()
                if error is None:
                    finished.add(step.name)
                    _say(result_line(step.name, future.result()))
                else:
                    _say(f"{dotted(step.name)} FAILED: {error}")
                    failure = failure or (step, error)
    except KeyboardInterrupt:
        children.stop()
        wait(begun, timeout=_GRACE)
        pool.shutdown(wait=False)
        raise
    pool.shutdown()
    if failure is not None:
        raise StepError(f"{failure[0].name}: {failure[1]}") from failure[1]


def order(steps: Iterable[Step]) -> list[Step]:
    """The steps such that each comes after those that it names; refuses what cannot be ordered."""
    left = {}
    for step in steps:
        if step.name in left:
            raise ValueError(f"two steps have the name {step.name!r}")
        left[step.name] = step
    known = set(left)
    for step in left.values():
        if unknown := set(step.after) - known:
            raise ValueError(
                f"step {step.name!r} comes after {sorted(unknown)}, which are no steps; "
                f"known: {sorted(known)}"
            )
    ordered: list[Step] = []
    names: set[str] = set()
    while left:
        ready = [step for step in left.values() if names.issuperset(step.after)]
        if not ready:
            raise ValueError(f"steps that wait for each other: {sorted(left)}")
        for step in ready:
            ordered.append(left.pop(step.name))
            names.add(step.name)
    return ordered


def dotted(name: str) -> str:
    """The name, and dots up to where the time is printed."""
    return f"{name} ".ljust(36, ".")


def result_line(name: str, seconds: float | None) -> str:
    """What is printed for a step that is done."""
    return f"{dotted(name)} {'there already' if seconds is None else f'{seconds:.1f}s'}"


def _run(step: Step) -> float | None:
    _current.set(step.name)
    if step.done is not None and step.done():
        return None
    begin = time.monotonic()
    step.run()
    return time.monotonic() - begin


def _say(text: str) -> None:
    with _printing:
        print(f"[{time.monotonic() - _started:6.1f}s] {text}", file=sys.stdout, flush=True)
