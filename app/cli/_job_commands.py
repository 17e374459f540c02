"""`jobs ...`"""

import asyncio
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from app.cli._output import Json, print_json, print_lines
from app.cli._words import printable

jobs = typer.Typer(help="Background jobs.", no_args_is_help=True)
JobId = Annotated[UUID, typer.Argument(metavar="ID", help="The job's id.")]
Status = Annotated[str | None, typer.Option(help="queued, running, succeeded, failed, cancelled or dead.")]
Name = Annotated[str | None, typer.Option(help="Only jobs of this name.")]
Queue = Annotated[str | None, typer.Option(help="Only of this queue.")]
Owner = Annotated[str | None, typer.Option(help="Only of this user: an e-mail address or an id.")]
Since = Annotated[
    str | None, typer.Option(help="Submitted since then: 90s, 30m, 2h, 7d, or a time with its zone.")
]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LINE_COLUMNS = ("Id", "Name", "Queue", "Status", "Tries", "Done", "Age", "Error")
_LEAST_LAST, _WIDEST = 20, 10_000
_QUEUE_COLUMNS = ("Queue", "Waiting", "Oldest", "Delayed", "Running", "Dead", "Workers", "At the broker")


@jobs.command(name="list")
def list_jobs(  # noqa: PLR0917 - typer's options, which are never given by position
    status: Status = None,
    name: Name = None,
    queue: Queue = None,
    owner: Owner = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Jobs on a page.")] = 50,
    cursor: Annotated[UUID | None, typer.Option(help="next_cursor of the page before.")] = None,
    as_json: Json = False,
) -> None:
    """Jobs, newest first."""
    from app.cli._jobs import page
    from app.settings import Settings

    query = _query(status=status, name=name, queue=queue, since=since, limit=limit, cursor=cursor)
    found = asyncio.run(page(Settings(), query, owner))
    if as_json:
        print_json(found)
        return
    _print_table(_LINE_COLUMNS, map(_row, found["items"]))
    if found["next_cursor"] is not None:
        typer.echo(f"more: --cursor {found['next_cursor']}")


@jobs.command()
def show(
    job_id: JobId,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for its end; fails unless it succeeds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """One job, with its result."""
    from app.cli import _jobs
    from app.cli._progress import progress
    from app.settings import Settings

    if not watch:
        _print_job(asyncio.run(_jobs.show(Settings(), job_id)), as_json=as_json)
        return
    with progress() as report:
        job = asyncio.run(_jobs.watch(Settings(), job_id, report))
    _print_job(job, as_json=as_json)
    raise typer.Exit(0 if job["status"] == "succeeded" else 1)


@jobs.command()
def cancel(job_id: JobId, as_json: Json = False) -> None:
    """End a job: at once if it is queued, within a second or so if it runs."""
    from app.cli._jobs import cancel
    from app.settings import Settings

    _print_job(asyncio.run(cancel(Settings(), job_id)), as_json=as_json)


@jobs.command()
def retry(  # noqa: PLR0917 - typer's options, which are never given by position
    job_id: Annotated[UUID | None, typer.Argument(metavar="[ID]", help="The job's id.")] = None,
    status: Status = None,
    name: Name = None,
    queue: Queue = None,
    owner: Owner = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Run a job again that failed, is dead or was cancelled; or all that the options name (dead ones, unless --status)."""
    from app.cli import _jobs
    from app.settings import Settings

    asked: dict[str, Any] = {"status": status, "name": name, "queue": queue, "since": since}
    has_filter = any(value is not None for value in (*asked.values(), owner))
    if (job_id is not None) == has_filter:
        raise typer.BadParameter(
            "name one job by its id, or several by --status, --name, --queue, --owner, --since"
        )
    if job_id is not None:
        _print_job(asyncio.run(_jobs.retry(Settings(), job_id)), as_json=as_json)
        return
    if (status or "dead") not in {"failed", "dead", "cancelled"}:
        raise typer.BadParameter("only failed, dead and cancelled jobs run again", param_hint="--status")
    query = _query(**asked | {"status": status or "dead", "limit": 100})
    _retry_all(asyncio.run(_jobs.matching(Settings(), query, owner)), yes=yes, as_json=as_json)


@jobs.command()
def queues(as_json: Json = False) -> None:
    """How the queues stand, and who works on them."""
    from app.cli._jobs import queues
    from app.settings import Settings

    found = asyncio.run(queues(Settings()))
    if as_json:
        print_json(found)
        return
    _print_table(_QUEUE_COLUMNS, map(_queue_row, found["queues"]))
    for worker in found["workers"]:
        listed = ", ".join(worker["queues"])
        typer.echo(printable(f"worker {worker['name']}: {worker['running']} in work, takes {listed}"))
    if not found["workers"]:
        typer.echo("no worker is there: python -m app worker")


@jobs.command(name="replay-dead")
def replay_dead(queue: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """Hand out again the messages that the broker put aside because nobody could read them. Dead jobs: `jobs retry --status dead`."""
    from app.cli._jobs import replay_dead
    from app.settings import Settings

    done = asyncio.run(replay_dead(Settings(), queue))
    print_lines([f"{done['replayed']} messages of {printable(queue)}"], done, as_json=as_json)


def _retry_all(ids: list[UUID], *, yes: bool, as_json: bool) -> None:
    from app.cli._jobs import retry_all
    from app.cli._progress import progress
    from app.settings import Settings

    if ids and not yes:
        typer.confirm(f"Run {len(ids)} jobs again?", abort=True, err=True)
    with progress() as report:
        done = asyncio.run(retry_all(Settings(), ids, report))
    lines = [f"{done['retried']} jobs run again"]
    lines += [f"{job_id}: {printable(reason)}" for job_id, reason in done["refused"].items()]
    print_lines(lines, done, as_json=as_json)
    raise typer.Exit(1 if done["refused"] else 0)


def _query(*, since: str | None, **asked: Any) -> Any:
    """What makes no sense is wrong usage."""
    from pydantic import ValidationError

    from app.builtin.jobs.schemas import JobQuery

    try:
        return JobQuery.model_validate({**asked, "since": _time(since)})
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(first["msg"], param_hint=f"--{first['loc'][0]}") from None


def _time(text: str | None) -> datetime | str | None:
    """A time ago, or what stands there."""
    if text is None or (found := re.fullmatch(r"(\d{1,5})([smhd])", text)) is None:
        return text
    return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})


def _row(job: dict[str, Any]) -> tuple[str, ...]:
    progress = "-" if job["progress"] is None else f"{job['progress']:.0%}"
    attempts = f"{job['attempts']}/{job['max_attempts']}"
    return (
        job["id"],
        job["name"],
        job["queue"],
        job["status"],
        attempts,
        progress,
        _age(job["created_at"]),
        job["error"] or "",
    )


def _age(created_at: str) -> str:
    """Since then, in the largest unit that leaves two digits or more."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(created_at)).total_seconds()
    for unit, length_s in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 10 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _queue_row(state: dict[str, Any]) -> tuple[str, ...]:
    oldest = "-" if state["oldest_s"] is None else f"{state['oldest_s']:.0f} s"
    broker = state["broker"]
    there = f"{broker['waiting']} + {broker['unacked']} unacked, {broker['dead']} dead" if broker else "away"
    counts = (state["delayed"], state["running"], state["dead"], state["workers"])
    return (state["queue"], str(state["waiting"]), oldest, *map(str, counts), there)


def _print_job(job: dict[str, Any], *, as_json: bool) -> None:
    import json

    shown = (
        f"{name:<20} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in job.items()
        if value is not None
    )
    print_lines(map(printable, shown), job, as_json=as_json)


def _print_table(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    """All but the last column are shown whole, also where the terminal is too narrow for that: half an id is of no use to anybody."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    lines = [tuple(map(printable, row)) for row in rows]
    table = Table(box=None)
    *short, last = columns
    for at, column in enumerate(short):
        widest = max(map(len, (column, *(line[at] for line in lines))))
        table.add_column(column, no_wrap=True, min_width=widest)
    table.add_column(last, overflow="fold", min_width=_LEAST_LAST)
    for line in lines:
        table.add_row(*map(Text, line))
    console = Console()
    needed = Measurement.get(console, console.options.update_width(_WIDEST), table).minimum
    console.width = max(console.width, needed)
    console.print(table)
