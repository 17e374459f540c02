"""`users ...`"""

import asyncio
import secrets
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from app.cli._output import Email, Json, print_fields, print_lines
from app.cli._words import printable

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
    """Add roles and scopes to those that a user has. Access tokens that are out end; refreshed ones carry the roles."""
    from app.cli._accounts import give
    from app.settings import Settings

    _check_named(role, scope)
    print_fields(asyncio.run(give(Settings(), email, role or (), scope or ())), as_json=as_json)


@users.command()
def revoke(email: Email, role: Roles = None, scope: Scopes = None, as_json: Json = False) -> None:
    """Take roles and scopes from a user. Access tokens that are out end."""
    from app.cli._accounts import take
    from app.settings import Settings

    _check_named(role, scope)
    print_fields(asyncio.run(take(Settings(), email, role or (), scope or ())), as_json=as_json)


@users.command()
def disable(email: Email, as_json: Json = False) -> None:
    """Let a user sign in no more, and end all his sessions and tokens."""
    from app.cli._accounts import set_active
    from app.settings import Settings

    print_fields(asyncio.run(set_active(Settings(), email, is_active=False)), as_json=as_json)


@users.command()
def enable(email: Email, as_json: Json = False) -> None:
    """Let a disabled user sign in again."""
    from app.cli._accounts import set_active
    from app.settings import Settings

    print_fields(asyncio.run(set_active(Settings(), email, is_active=True)), as_json=as_json)


@users.command(name="sign-out")
def sign_out(email: Email, as_json: Json = False) -> None:
    """End all sessions and tokens of a user, who may sign in again."""
    from app.cli._accounts import sign_out
    from app.settings import Settings

    print_fields(asyncio.run(sign_out(Settings(), email)), as_json=as_json)


@users.command()
def delete(
    email: Email,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Delete a user and all that belongs to him. What was recorded of him stays."""
    from app.cli._accounts import delete
    from app.settings import Settings

    if not yes:
        typer.confirm("Delete this user and all that belongs to him?", abort=True, err=True)
    print_fields(asyncio.run(delete(Settings(), email)), as_json=as_json)


@users.command(name="list")
def list_users(  # noqa: PLR0917 - typer's options, which are never given by position
    email: Annotated[str | None, typer.Option(help="Only the user with this address.")] = None,
    role: Annotated[str | None, typer.Option(help="Only those who have this role.")] = None,
    active: Annotated[bool | None, typer.Option("--active/--disabled", help="Only these.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Users on a page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="next_cursor of the page before.")] = None,
    as_json: Json = False,
) -> None:
    """Users, newest first."""
    from app.builtin.accounts.schemas import UserQuery
    from app.cli._accounts import page
    from app.settings import Settings

    asked = {"email": email, "role": role, "is_active": active, "limit": limit, "cursor": cursor}
    found = asyncio.run(page(Settings(), UserQuery.model_validate(asked)))
    print_lines(_lines(found), found, as_json=as_json)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    for user in found["items"]:
        state = "active" if user["is_active"] else "disabled"
        rights = " ".join([*user["roles"], *user["scopes"]]) or "-"
        yield f"{user['id']}  {state:<8}  {printable(user['email'])}  {rights}"
    if found["next_cursor"] is not None:
        yield f"more: --cursor {found['next_cursor']}"


def _check_named(roles: list[str] | None, scopes: list[str] | None) -> None:
    if not roles and not scopes:
        raise typer.BadParameter("name at least one --role or --scope")


@users.command(name="reset-mfa")
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
