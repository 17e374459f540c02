"""`credits ...`"""

import asyncio
from typing import Annotated

import typer

from app.cli._output import Email, Json, print_fields
from app.cli._words import words

credits_app = typer.Typer(help="What users may spend.", no_args_is_help=True)


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

    print_fields(asyncio.run(give(Settings(), email, amount, key, note)), as_json=as_json)


@credits_app.command("balance")
def show_balance(email: Email, as_json: Json = False) -> None:
    """What a user has, and on which plan he is."""
    from app.cli._credits import balance
    from app.settings import Settings

    print_fields(asyncio.run(balance(Settings(), email)), as_json=as_json)


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
    print_fields(asyncio.run(change(Settings(), email, plan, time_zone)), as_json=as_json)
