"""What all commands share in printing."""

import json
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def print_json(value: Any) -> None:
    """To standard output, for scripts."""
    typer.echo(json.dumps(value, indent=2))
