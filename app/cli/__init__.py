"""Door: operator commands, composed of its own and the groups' (``_*_commands.py``).

They parse and print; the work is in functions, imported by the command that runs, so that `--help` is quick.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli._credit_commands import credits_app
from app.cli._job_commands import jobs
from app.cli._key_commands import keys
from app.cli._migration_commands import migrations
from app.cli._output import Json, print_json, print_lines
from app.cli._seed_commands import seed
from app.cli._user_commands import users
from app.cli._words import printable
from app.core.errors import GatehouseError

if TYPE_CHECKING:
    from app.cli._doctor import Report
    from app.cli._policies import Change

cli = typer.Typer(
    name="app",
    help="Gatehouse: serve, work, migrate, seed, users, credits, keys, jobs, policies, doctor.",
    no_args_is_help=True,
    add_completion=False,
)
cli.add_typer(migrations, name="migrations")
cli.add_typer(seed, name="seed")
cli.add_typer(users, name="users")
cli.add_typer(credits_app, name="credits")
cli.add_typer(keys, name="keys")
cli.add_typer(jobs, name="jobs")


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed (one line on standard error), 2 wrong usage."""
    try:
        cli()
    except (GatehouseError, ValueError) as error:
        typer.echo(printable(f"error: {_one_line(error)}"), err=True)
        sys.exit(1)


@cli.callback()
def log_to_standard_error(context: typer.Context) -> None:
    """Gatehouse: serve, work, migrate, seed, users, credits, keys, jobs, policies, doctor."""
    if context.invoked_subcommand in {"serve", "worker"}:
        return  # the application configures its log itself
    import structlog

    # Standard output belongs to the answer, which may be JSON.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger("warning"),
    )


@cli.command()
def serve(fd: Annotated[int | None, typer.Option(hidden=True)] = None) -> None:
    """Serve the API on HOST and PORT in WORKERS processes."""
    from app.cli._serve import serve
    from app.settings import Settings

    raise typer.Exit(serve(Settings(), fd=fd))


@cli.command()
def worker(
    queues: Annotated[
        str | None, typer.Option(help="Queues to take jobs from, with commas between; all without it.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Async jobs in work at once.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes for plain functions.")
    ] = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run background jobs and the periodic work, until it is told to stop. The options go before JOBS__*."""
    from app.cli._worker import UnknownQueue, with_options, work
    from app.settings import Settings

    names = None if queues is None else [name.strip() for name in queues.split(",")]
    settings = with_options(Settings(), queues=names, concurrency=concurrency, processes=processes)
    try:
        code = work(settings, fd=fd)
    except UnknownQueue as error:
        raise typer.BadParameter(printable(str(error))) from None
    raise typer.Exit(code)


@cli.command()
def doctor(as_json: Json = False) -> None:
    """Is this configuration safe for production, and do its servers answer? Fails when not."""
    from app.cli._doctor import examine

    report = asyncio.run(examine())
    if as_json:
        print_json(report.as_dict())
    else:
        _print_report(report)
    raise typer.Exit(0 if report.ok else 1)


@cli.command()
def policies(
    as_json: Json = False,
    diff: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="What an earlier --json printed; fails if it differs."
        ),
    ] = None,
) -> None:
    """What guards every route, with the overrides of this environment. Needs no server."""
    from app.cli._policies import compare, policies, read
    from app.settings import Settings

    earlier = read(diff) if diff is not None else None
    routes = asyncio.run(policies(Settings()))
    if earlier is None:
        print_json({"routes": routes}) if as_json else _print_policies(routes)
        return
    changes = compare(earlier, routes)
    print_lines(map(_line, changes), [change._asdict() for change in changes], as_json=as_json)
    raise typer.Exit(1 if changes else 0)


def _one_line(error: Exception) -> str:
    from pydantic import ValidationError

    from app.settings import describe_errors

    text = describe_errors(error) if isinstance(error, ValidationError) else str(error)
    return " ".join(text.split())


def _line(change: "Change") -> str:
    values = f"{_value(change.before)} -> {_value(change.after)}"
    return printable(f"{change.route}: {change.option or 'route'}: {values}")


def _value(value: Any) -> str:
    return "-" if value is None else json.dumps(value)


def _print_policies(routes: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from app.cli._policies import summary

    table = Table(box=None)
    for column in ("Policy", "Route", "Who", "What"):
        table.add_column(column, overflow="fold")
    for route in routes:
        table.add_row(*summary(route))
    Console().print(table)


def _print_report(report: "Report") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for finding in report.findings:
        mark = "[green]ok[/]  " if finding.ok else "[red]bad[/] "
        console.print(mark, f"{finding.name}: {finding.detail}", markup=True, soft_wrap=True, highlight=False)
    table = Table("Setting", "From", "Value", box=None)
    for setting in report.settings:
        table.add_row(setting.name, setting.source, setting.value)
    console.print(table)
