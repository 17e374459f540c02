"""What all commands share in asking and printing."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Email = Annotated[str, typer.Argument(help="The user's address.")]


def print_json(value: Any) -> None:
    """To standard output, for scripts."""
    typer.echo(json.dumps(value, indent=2))


def print_lines(lines: Iterable[str], value: Any, *, as_json: bool) -> None:
    """``value`` as JSON if that was asked for, otherwise the lines, which say the same to people."""
    if as_json:
        print_json(value)
        return
    for line in lines:
        typer.echo(line)


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: a line for each of its fields, or JSON."""
    shown = {name: " ".join(value) if isinstance(value, list) else value for name, value in fields.items()}
    print_lines((f"{name:<13} {value}" for name, value in shown.items()), fields, as_json=as_json)


def print_issues(issues: list[str], *, as_json: bool) -> None:
    """What a check found, and the exit code of it: 0 without issues, 1 with any."""
    print_lines(issues or ["ok"], {"ok": not issues, "issues": issues}, as_json=as_json)
    raise typer.Exit(1 if issues else 0)
