"""Requests that wait for an operation: without a thread of the pool that every request needs."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi.concurrency import run_in_threadpool

from nbdsvc.app import App, Waiting

T = TypeVar("T")


async def settled(app: App, use_case: Callable[[], Waiting[T]]) -> T:
    """The result of what the use case has admitted, when that has ended. An operation's error, or TimedOut."""
    found = await run_in_threadpool(use_case)
    for id in found.operations:
        await app.operations.ended(id, found.seconds)
    return await run_in_threadpool(found.result)


def at_once(result: T) -> Waiting[T]:
    """Nothing to wait for."""
    return Waiting((), 0, lambda: result)


def then(waiting: Waiting[Any], shown: Callable[[Any], T]) -> Waiting[T]:
    """The same, with what is shown of its result."""
    return Waiting(waiting.operations, waiting.seconds, lambda: shown(waiting.result()))
