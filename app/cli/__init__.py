"""Door: operator commands. They parse and print; the work is in functions, imported by the command that runs, so that `--help` is quick."""

import asyncio
import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli._words import printable, words
from app.core.errors import GatehouseError

if TYPE_CHECKING:
    from app.cli._doctor import Report

cli = typer.Typer(
    name="app",
    help="Gatehouse: serve, migrate, seed, users, credits, keys, policies, doctor.",
    no_args_is_help=True,
    add_completion=False,
)
migrations = typer.Typer(help="The database's schema.", no_args_is_help=True)
seed = typer.Typer(help="Put known data into a database.", no_args_is_help=True)
users = typer.Typer(help="People who may sign in.", no_args_is_help=True)
credits_app = typer.Typer(help="What users may spend.", no_args_is_help=True)
keys = typer.Typer(help="Keys of encryption.", no_args_is_help=True)
cli.add_typer(migrations, name="migrations")
cli.add_typer(seed, name="seed")
cli.add_typer(users, name="users")
cli.add_typer(credits_app, name="credits")
cli.add_typer(keys, name="keys")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Email = Annotated[str, typer.Argument(help="The user's address.")]
Roles = Annotated[list[str] | None, typer.Option("--role", help="A role; may be repeated.")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="A scope; may be repeated.")]


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed (one line on standard error), 2 wrong usage."""
    try:
        cli()
    except (GatehouseError, ValueError) as error:
        typer.echo(printable(f"error: {_one_line(error)}"), err=True)
        sys.exit(1)


@cli.callback()
def log_to_standard_error(context: typer.Context) -> None:
    """Gatehouse: serve, migrate, seed, users, credits, keys, policies, doctor."""
    if context.invoked_subcommand == "serve":
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
def doctor(as_json: Json = False) -> None:
    """Is this configuration safe for production, and do its servers answer? Fails when not."""
    from app.cli._doctor import examine

    report = asyncio.run(examine())
    if as_json:
        _print_json(report.as_dict())
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
        _print_json({"routes": routes}) if as_json else _print_policies(routes)
        return
    changes = compare(earlier, routes)
    if as_json:
        _print_json([change._asdict() for change in changes])
    for change in () if as_json else changes:
        values = f"{_value(change.before)} -> {_value(change.after)}"
        typer.echo(printable(f"{change.route}: {change.option or 'route'}: {values}"))
    raise typer.Exit(1 if changes else 0)


@migrations.command()
def upgrade(revision: Annotated[str, typer.Argument(help="Where to stop.")] = "head") -> None:
    """Apply the migrations that the database lacks."""
    from app.cli._sessions import database_url
    from app.core.db import upgrade
    from app.settings import Settings

    asyncio.run(upgrade(database_url(Settings()), revision))
    typer.echo(f"The schema is at {revision}.")


@seed.command()
def dev(as_json: Json = False) -> None:
    """Make the development users with new random passwords, and print these once. Refused in production."""
    from app.cli._seed import seed
    from app.settings import Settings

    credentials = asyncio.run(seed(Settings()))
    if as_json:
        _print_json(credentials)
    for email, password in () if as_json else credentials.items():
        typer.echo(f"{email}  {password}")


@users.command()
def create(
    email: Email,
    role: Roles = None,
    scope: Scopes = None,
    password_stdin: Annotated[bool, typer.Option(help="Read the password from standard input.")] = False,
    generate: Annotated[bool, typer.Option(help="Make a random password and print it once.")] = False,
    as_json: Json = False,
) -> None:
    """Add a user. The password is asked for unless an option says otherwise; it is never an argument, which others could see."""
    from app.cli._accounts import create
    from app.settings import Settings

    if password_stdin and generate:
        raise typer.BadParameter("choose one of --password-stdin and --generate")
    password = _password(password_stdin, generate)
    user = asyncio.run(create(Settings(), email, password, role or (), scope or ()))
    _print_user(user | ({"password": password} if generate else {}), as_json)


@users.command()
def grant(email: Email, role: Roles = None, scope: Scopes = None, as_json: Json = False) -> None:
    """Add roles and scopes to those that a user has. Tokens that are out keep what they carry."""
    from app.cli._accounts import give
    from app.settings import Settings

    if not role and not scope:
        raise typer.BadParameter("name at least one --role or --scope")
    _print_user(asyncio.run(give(Settings(), email, role or (), scope or ())), as_json)


@credits_app.command("grant")
def grant_credits(
    email: Email,
    amount: Annotated[int, typer.Argument(min=1, max=1_000_000_000, help="Whole credits.")],
    key: Annotated[
        str | None,
        typer.Option(callback=words(1, 200), help="Grant once under this key, however often it is said."),
    ] = None,
    note: Annotated[str, typer.Option(callback=words(0, 200), help="For the ledger; the user sees it.")] = "",
    as_json: Json = False,
) -> None:
    """Give credits to a user."""
    from app.cli._credits import give
    from app.settings import Settings

    _print_user(asyncio.run(give(Settings(), email, amount, key, note)), as_json)


@credits_app.command("balance")
def show_balance(email: Email, as_json: Json = False) -> None:
    """What a user has, and on which plan he is."""
    from app.cli._credits import balance
    from app.settings import Settings

    _print_user(asyncio.run(balance(Settings(), email)), as_json)


@credits_app.command("plan")
def change_plan(
    email: Email,
    plan: Annotated[str | None, typer.Option(help="The plan's name, as quotas know it.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Where his days begin, such as Europe/Vienna.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put a user on a plan, or his days into a time zone."""
    from app.cli._credits import plan as change
    from app.settings import Settings

    if plan is None and time_zone is None:
        raise typer.BadParameter("give --plan, --time-zone or both")
    _print_user(asyncio.run(change(Settings(), email, plan, time_zone)), as_json)


@keys.command()
def rotate(
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Rows in a transaction.")] = 500,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is left to do.")] = False,
    as_json: Json = False,
) -> None:
    """Re-encrypt all encrypted columns with the first key of ENCRYPTION_KEYS. Stop it as you like: it goes on where it was."""
    from app.cli._keys import rotate
    from app.cli._progress import progress
    from app.settings import Settings

    with progress() as report:
        result = asyncio.run(rotate(Settings(), report, batch=batch, dry_run=dry_run))
    if as_json:
        _print_json(result)
    elif not result["columns"]:
        typer.echo("No model has an encrypted column.")
    for column in () if as_json else result["columns"]:
        counts = ", ".join(f"{column[name]} {name}" for name in ("rotated", "unreadable", "left"))
        typer.echo(f"{column['column']}: {counts}")
    for column in result["columns"]:
        if column["reason"]:
            typer.echo(f"error: {column['reason']}", err=True)
    raise typer.Exit(1 if any(column["left"] for column in result["columns"]) and not dry_run else 0)


def _password(from_stdin: bool, generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(18)
    if from_stdin:
        if sys.stdin is None:
            raise typer.BadParameter("--password-stdin needs a standard input, and this one is closed")
        return sys.stdin.readline().removesuffix("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _one_line(error: Exception) -> str:
    from pydantic import ValidationError

    from app.settings import describe_errors

    text = describe_errors(error) if isinstance(error, ValidationError) else str(error)
    return " ".join(text.split())


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def _print_user(user: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json(user)
        return
    for name, value in user.items():
        typer.echo(f"{name:<13} {' '.join(value) if isinstance(value, list) else value}")


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
