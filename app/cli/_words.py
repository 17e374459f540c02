"""Words that are typed: what is taken, and how what others wrote is shown."""

from collections.abc import Callable

import typer


def words(least: int, most: int) -> Callable[[str | None], str | None]:
    """A check for an option of ``least`` to ``most`` printable characters, not all blank if one is needed. Wrong usage otherwise."""

    def check(value: str | None) -> str | None:
        if value is None:
            return None
        if not (least <= len(value) <= most and value.isprintable() and (value.strip() or not least)):
            raise typer.BadParameter(f"takes {least} to {most} printable characters")
        return value

    return check


def printable(text: str) -> str:
    """The text on one line, with escapes for whatever a terminal could take for a command."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
