"""`migrations ...`"""

import asyncio
from typing import Annotated

import typer

from app.cli._output import Json, print_json

migrations = typer.Typer(help="The database's schema.", no_args_is_help=True)
Revision = Annotated[str, typer.Argument(help="Where to stop.")]


@migrations.command()
def upgrade(revision: Revision = "head") -> None:
    """Apply the migrations that the database lacks."""
    from app.cli._sessions import database_url
    from app.core.db import upgrade
    from app.settings import Settings

    asyncio.run(upgrade(database_url(Settings()), revision))
    typer.echo(f"The schema is at {revision}.")


@migrations.command("list")
def list_all(as_json: Json = False) -> None:
    """The migrations of this checkout. Needs no server."""
    from app.core.db import MigrationUtils

    found = MigrationUtils().list_migrations()
    if as_json:
        print_json(
            [{"revision": each.revision, "down": each.down, "message": each.message} for each in found]
        )
    for each in () if as_json else found:
        typer.echo(f"{each.revision}  {each.message}")


@migrations.command()
def validate(as_json: Json = False) -> None:
    """Do the migrations fit together, and has each a way down? Fails when not. Needs no server."""
    from app.core.db import MigrationUtils

    _report(MigrationUtils().validate_migrations()[1], as_json)


@migrations.command()
def conflicts(as_json: Json = False) -> None:
    """Orphaned branches, several heads, revisions twice. Fails when there are any. Needs no server."""
    from app.core.db import MigrationUtils

    _report(MigrationUtils().find_conflicts(), as_json)


@migrations.command()
def status(as_json: Json = False) -> None:
    """What the database has and what it lacks. Fails when something is pending."""
    from app.cli._migrations import status
    from app.settings import Settings

    found = asyncio.run(status(Settings()))
    if as_json:
        print_json(found._asdict())
    else:
        typer.echo(f"applied: {', '.join(found.applied) or 'none'}")
        typer.echo(f"pending: {', '.join(found.pending) or 'none'}")
    raise typer.Exit(1 if found.pending else 0)


@migrations.command()
def history(as_json: Json = False) -> None:
    """What was done to the database's schema, oldest first."""
    from app.cli._migrations import history
    from app.settings import Settings

    entries = asyncio.run(history(Settings()))
    if as_json:
        print_json([{**each._asdict(), "at": each.at.isoformat()} for each in entries])
    for each in () if as_json else entries:
        typer.echo(f"{each.at.isoformat()}  {each.direction:<5}  {each.revision}  {each.by}")


@migrations.command("dry-run")
def dry_run(revision: Revision = "head") -> None:
    """Print the SQL that an upgrade would run; nothing when there is nothing to do."""
    from app.cli._migrations import dry_run
    from app.settings import Settings

    typer.echo(asyncio.run(dry_run(Settings(), revision)), nl=False)


def _report(issues: list[str], as_json: bool) -> None:
    if as_json:
        print_json({"ok": not issues, "issues": issues})
    for issue in () if as_json else issues or ["ok"]:
        typer.echo(issue)
    raise typer.Exit(1 if issues else 0)
