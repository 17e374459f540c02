"""`seed ...`"""

import asyncio
from typing import Annotated

import typer

from app.cli._output import Json, print_issues, print_lines

seed = typer.Typer(help="Put known data into a database.", no_args_is_help=True)
Scale = Annotated[int, typer.Option(min=1, max=1_000_000, help="So many times the rows.")]


@seed.command()
def dev(scale: Scale = 1, as_json: Json = False) -> None:
    """Make the development users with new random passwords, and print these once; add rows. Refused in production."""
    from app.cli._progress import progress
    from app.cli._seed import seed
    from app.settings import Settings

    with progress() as report:
        credentials = asyncio.run(seed(Settings(), scale=scale, report=report))
    lines = (f"{email}  {password}" for email, password in credentials.items())
    print_lines(lines, credentials, as_json=as_json)


@seed.command()
def demo(scale: Scale = 1, as_json: Json = False) -> None:
    """The same as `seed dev`."""
    dev(scale, as_json)


@seed.command("test")
def seed_test(as_json: Json = False) -> None:
    """Add the small set that tests start from. Refused in production."""
    _run_seed("test", as_json)


@seed.command("validate")
def validate_seed(as_json: Json = False) -> None:
    """Is every seed whole or absent? In production: is none there? Fails when not."""
    from app.cli._seed import validate
    from app.settings import Settings

    print_issues(asyncio.run(validate(Settings())), as_json=as_json)


@seed.command("clear")
def clear_seed(as_json: Json = False) -> None:
    """Delete the rows that seeds have made; users with passwords stay. Refused in production."""
    _run_seed("clear", as_json)


def _run_seed(act: str, as_json: bool) -> None:
    from app.cli._progress import progress
    from app.cli._seed import rows
    from app.settings import Settings

    with progress() as report:
        counts = asyncio.run(rows(Settings(), act, report))
    done = "deleted" if act == "clear" else "added"
    print_lines((f"{name}: {count} rows {done}" for name, count in counts.items()), counts, as_json=as_json)
