"""`keys ...`"""

import asyncio
from typing import Annotated, Any

import typer

from app.cli._output import Json, print_lines
from app.cli._signing_key_commands import signing

keys = typer.Typer(help="Keys of encryption, and those that sign tokens.", no_args_is_help=True)
keys.add_typer(signing, name="signing")


@keys.command()
def rotate(
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Rows in a transaction.")] = 500,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is left to do.")] = False,
    as_json: Json = False,
) -> None:
    """Re-encrypt all encrypted columns with the first key of ENCRYPTION_KEYS. Stop it as you like: it goes on where it was.

    The keys that sign tokens are another matter: `keys signing rotate`.
    """
    from app.cli._keys import rotate
    from app.cli._progress import progress
    from app.settings import Settings

    with progress() as report:
        result = asyncio.run(rotate(Settings(), report, batch=batch, dry_run=dry_run))
    lines = map(_line, result["columns"]) if result["columns"] else ["No model has an encrypted column."]
    print_lines(lines, result, as_json=as_json)
    for column in result["columns"]:
        if column["reason"]:
            typer.echo(f"error: {column['reason']}", err=True)
    raise typer.Exit(1 if any(column["left"] for column in result["columns"]) and not dry_run else 0)


def _line(column: dict[str, Any]) -> str:
    counts = ", ".join(f"{column[name]} {name}" for name in ("rotated", "unreadable", "left"))
    return f"{column['column']}: {counts}"
