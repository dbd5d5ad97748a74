"""Async functions of users, called from code that is not async."""

import asyncio
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

_Result = TypeVar("_Result")


def result_of(awaitable: Awaitable[_Result]) -> _Result:
    """Wait for the result, also where an event loop runs already, as in a notebook.

    Args:
        awaitable: what an async function returned.

    Example:
        >>> async def twice(number: int) -> int: return 2 * number
        >>> result_of(twice(21))
        42
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_awaited(awaitable))
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(copy_context().run, asyncio.run, _awaited(awaitable)).result()


async def _awaited(awaitable: Awaitable[_Result]) -> _Result:
    return await awaitable
