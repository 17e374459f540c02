"""The names of queues, of which there are few among many jobs."""

from typing import LiteralString


def queue_names(name: LiteralString, condition: LiteralString) -> LiteralString:
    """A part of ``WITH RECURSIVE``: the queues of jobs of which this is so, and one NULL. A loose index scan: of an index on the queue
    with this condition it reads an entry of each queue, and not one of each job.
    """
    return f"""{name} AS (
    (SELECT queue FROM jobs WHERE {condition} ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (SELECT j.queue FROM jobs j WHERE {condition} AND j.queue > {name}.queue ORDER BY j.queue LIMIT 1)
    FROM {name} WHERE {name}.queue IS NOT NULL
)"""  # noqa: S608 - constants of this package
