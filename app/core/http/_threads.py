"""The pool of threads in which FastAPI runs plain functions."""

import anyio.to_thread


def limit_threads(most: int) -> None:
    """At most so many sync handlers, dependencies and other plain functions at once in this process; the others wait for a thread.

    Call it on the running loop, when the lifespan starts: the pool belongs to the loop. A sync handler that gets its thread after its
    deadline is not started. Raises ValueError for less than 1.
    """
    if most < 1:
        raise ValueError("most must be 1 or more")
    anyio.to_thread.current_default_thread_limiter().total_tokens = most
