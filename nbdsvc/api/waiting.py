"""Waiting for the operations of a request, without holding a thread of the pool that every request needs."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi.concurrency import run_in_threadpool

from nbdsvc.app import App, Waiting

T = TypeVar("T")


async def wait_for_result(app: App, use_case: Callable[[], Waiting[T]]) -> T:
    """The result of what the use case submitted, when that has ended. Raises an operation's error, or TimedOut."""
    found = await run_in_threadpool(use_case)
    for id in found.operations:
        await app.operations.ended(id, found.seconds)
    return await run_in_threadpool(found.result)


def ready(result: T) -> Waiting[T]:
    """Nothing to wait for."""
    return Waiting((), 0, lambda: result)


def map_result(waiting: Waiting[Any], shown: Callable[[Any], T]) -> Waiting[T]:
    """The same wait, with `shown` applied to its result."""
    return Waiting(waiting.operations, waiting.seconds, lambda: shown(waiting.result()))
