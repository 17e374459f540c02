"""`users ...`"""

import asyncio
import secrets
import sys
from typing import Annotated

import typer

from app.cli._output import Email, Json, print_fields

users = typer.Typer(help="People who may sign in.", no_args_is_help=True)
Roles = Annotated[list[str] | None, typer.Option("--role", help="A role; may be repeated.")]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="A scope; may be repeated.")]


@users.command()
def create(  # noqa: PLR0917 - typer's options, which are never given by position
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
    print_fields(user | ({"password": password} if generate else {}), as_json=as_json)


@users.command()
def grant(email: Email, role: Roles = None, scope: Scopes = None, as_json: Json = False) -> None:
    """Add roles and scopes to those that a user has. Tokens that are out keep what they carry."""
    from app.cli._accounts import give
    from app.settings import Settings

    if not role and not scope:
        raise typer.BadParameter("name at least one --role or --scope")
    print_fields(asyncio.run(give(Settings(), email, role or (), scope or ())), as_json=as_json)


@users.command()
def reset_mfa(email: Email, as_json: Json = False) -> None:
    """Take away the second factor of a user who lost it; all his sessions end. Make sure that he is who he says."""
    from app.cli._accounts import reset_mfa
    from app.settings import Settings

    print_fields(asyncio.run(reset_mfa(Settings(), email)), as_json=as_json)


def _password(from_stdin: bool, generate: bool) -> str:
    if generate:
        return secrets.token_urlsafe(18)
    if from_stdin:
        if sys.stdin is None:
            raise typer.BadParameter("--password-stdin needs a standard input, and this one is closed")
        return sys.stdin.readline().removesuffix("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
