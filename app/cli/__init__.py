"""Door: operator commands. They parse and print; the work is in functions, imported by the command that runs, so that `--help` is quick."""

import asyncio
import json
import secrets
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.core.errors import GatehouseError

if TYPE_CHECKING:
    from app.cli._doctor import Report

cli = typer.Typer(
    name="app",
    help="Gatehouse: serve, migrate, seed, users, doctor.",
    no_args_is_help=True,
    add_completion=False,
)
migrations = typer.Typer(help="The database's schema.", no_args_is_help=True)
seed = typer.Typer(help="Put known data into a database.", no_args_is_help=True)
users = typer.Typer(help="People who may sign in.", no_args_is_help=True)
cli.add_typer(migrations, name="migrations")
cli.add_typer(seed, name="seed")
cli.add_typer(users, name="users")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Email = Annotated[str, typer.Argument(help="The user's address.")]
Roles = Annotated[list[str] | None, typer.Option("--role", help="A role; may be repeated.")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="A scope; may be repeated.")]


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed (one line on standard error), 2 wrong usage."""
    try:
        cli()
    except (GatehouseError, ValueError) as error:
        typer.echo(f"error: {_one_line(error)}", err=True)
        sys.exit(1)


@cli.callback()
def log_to_standard_error(context: typer.Context) -> None:
    """Gatehouse: serve, migrate, seed, users, doctor."""
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


def _password(from_stdin: bool, generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(18)
    if from_stdin:
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
        typer.echo(f"{name:<9} {' '.join(value) if isinstance(value, list) else value}")


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
