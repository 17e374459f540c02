"""`migrations ...`"""

import asyncio
from typing import Annotated

import typer

from app.cli._output import Json, print_issues, print_lines

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
    shown = [{"revision": each.revision, "down": each.down, "message": each.message} for each in found]
    print_lines((f"{each.revision}  {each.message}" for each in found), shown, as_json=as_json)


@migrations.command()
def validate(as_json: Json = False) -> None:
    """Do the migrations fit together, and has each a way down? Fails when not. Needs no server."""
    from app.core.db import MigrationUtils

    print_issues(MigrationUtils().validate_migrations()[1], as_json=as_json)


@migrations.command()
def conflicts(as_json: Json = False) -> None:
    """Orphaned branches, several heads, revisions twice. Fails when there are any. Needs no server."""
    from app.core.db import MigrationUtils

    print_issues(MigrationUtils().find_conflicts(), as_json=as_json)


@migrations.command()
def status(as_json: Json = False) -> None:
    """What the database has and what it lacks. Fails when something is pending."""
    from app.cli._migrations import status
    from app.settings import Settings

    found = asyncio.run(status(Settings()))
    shown = found._asdict()
    lines = (f"{name}: {', '.join(revisions) or 'none'}" for name, revisions in shown.items())
    print_lines(lines, shown, as_json=as_json)
    raise typer.Exit(1 if found.pending else 0)


@migrations.command()
def history(as_json: Json = False) -> None:
    """What was done to the database's schema, oldest first."""
    from app.cli._migrations import history
    from app.settings import Settings

    entries = asyncio.run(history(Settings()))
    shown = [{**each._asdict(), "at": each.at.isoformat()} for each in entries]
    lines = (f"{each['at']}  {each['direction']:<5}  {each['revision']}  {each['by']}" for each in shown)
    print_lines(lines, shown, as_json=as_json)


@migrations.command("dry-run")
def dry_run(revision: Revision = "head") -> None:
    """Print the SQL that an upgrade would run; nothing when there is nothing to do."""
    from app.cli._migrations import dry_run
    from app.settings import Settings

    typer.echo(asyncio.run(dry_run(Settings(), revision)), nl=False)
