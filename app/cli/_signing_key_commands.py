"""``keys signing ...``"""

from enum import StrEnum
from typing import Annotated, Any

import typer

from app.cli._output import Json, print_lines

signing = typer.Typer(help="Keys that sign tokens: the folder TOKEN__KEYS_DIR.", no_args_is_help=True)


class Kind(StrEnum):
    """What a new key can be."""

    EDDSA = "EdDSA"
    ES256 = "ES256"
    RS256 = "RS256"


@signing.command("list")
def show(as_json: Json = False) -> None:
    """All keys and what they are now: upcoming, signing, retired (still verifies) or over."""
    from app.cli._signing_keys import listed
    from app.settings import Settings

    keys = listed(Settings())
    print_lines(map(_line, keys), keys, as_json=as_json)


@signing.command()
def rotate(
    algorithm: Annotated[Kind, typer.Option(help="Of the new key.")] = Kind.EDDSA,
    lead_s: Annotated[
        int,
        typer.Option(
            "--in", min=10, max=2_592_000, help="Seconds until it signs; until then all must know it."
        ),
    ] = 600,
    as_json: Json = False,
) -> None:
    """Make a key that signs from a moment on, without a restart; remove those whose tokens have run out. Encryption: `keys rotate`."""
    from app.cli._signing_keys import rotate
    from app.settings import Settings

    made = rotate(Settings(), algorithm.value, lead_s)
    print_lines([_line(made)], made, as_json=as_json)


@signing.command()
def retire(kid: Annotated[str, typer.Argument()], as_json: Json = False) -> None:
    """Remove a key that leaked, at once: its tokens end within seconds. The one that waits signs in its place."""
    from app.cli._signing_keys import retire
    from app.settings import Settings

    left = retire(Settings(), kid)
    print_lines(map(_line, left), left, as_json=as_json)


def _line(key: dict[str, Any]) -> str:
    until = f", verifies until {key['verifies_until']}" if key["verifies_until"] else ""
    return f"{key['kid']} {key['algorithm']} {key['state']}: signs from {key['signs_from']}{until}"
