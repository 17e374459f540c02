"""Whatever is typed at the command line: one clear line and the right exit code, never a traceback, and nothing is done."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli._policies import policies
from app.settings import Settings
from tests.cli.test_commands import Command, Outcome, command, servers_environment
from tests.nursery import run

__all__ = ["command", "servers_environment"]
USER = "op@example.com"
TEXTS = {
    "empty": "",
    "blank": " ",
    "nul": "a\0b@example.com",
    "a line and more": "a@example.com\nb",
    "long": "x" * 100_000,
    "emoji": "\N{CRAB}",
    "bytes": "\udcff@example.com",
    "sql": "' OR 1=1 --",
    "format": "%s{0}{}",
    "right to left": "\u202eabc@example.com",
    "escape sequence": "\x1b[31mred",
    "markup": "[red]x[/red]@[/]",
    "path": "../../etc/passwd",
    "negative": "-1",
    "dash": "-",
}
PLACES: dict[str, Callable[[str], list[str]]] = {
    "create": lambda text: ["users", "create", "--generate", "--", text],
    "role": lambda text: ["users", "create", "new@example.com", "--generate", f"--role={text}"],
    "scope": lambda text: ["users", "create", "new@example.com", "--generate", f"--scope={text}"],
    "grant": lambda text: ["users", "grant", "--role=admin", "--", text],
    "grant a role": lambda text: ["users", "grant", USER, f"--role={text}"],
    "revoke": lambda text: ["users", "revoke", "--role=admin", "--", text],
    "disable": lambda text: ["users", "disable", "--", text],
    "delete": lambda text: ["users", "delete", "--yes", "--", text],
    "list": lambda text: ["users", "list", f"--cursor={text}"],
    "credits": lambda text: ["credits", "grant", "--", text, "5"],
    "amount": lambda text: ["credits", "grant", "--", USER, text],
    "balance": lambda text: ["credits", "balance", "--", text],
    "plan": lambda text: ["credits", "plan", USER, f"--plan={text}"],
    "time zone": lambda text: ["credits", "plan", USER, f"--time-zone={text}"],
    "batch": lambda text: ["keys", "rotate", f"--batch={text}"],
    "diff": lambda text: ["policies", f"--diff={text}"],
    "migration": lambda text: ["migrations", "upgrade", "--", text],
}


def assert_refused(outcome: Outcome) -> None:
    assert outcome.code in (1, 2), outcome.output
    assert "Traceback" not in outcome.errors
    assert "\x1b" not in outcome.errors
    # Another test of this process may have set up the service's log, which alembic then writes to.
    assert [line for line in outcome.output.splitlines() if '"logger":"alembic' not in line] == []
    if outcome.code == 1:
        assert outcome.errors.startswith("error: ")
        assert (outcome.errors.count("\n"), len(outcome.errors) < 600) == (1, True)


@pytest.fixture
def user(command: Command) -> str:
    assert command("users", "create", USER, "--generate").code == 0
    return USER


@pytest.mark.parametrize("place", PLACES)
def test_what_makes_no_sense_is_refused_in_one_line(command: Command, user: str, place: str) -> None:
    before = command("credits", "balance", user).output
    for text in TEXTS.values():
        assert_refused(command(*PLACES[place](text)))
    assert command("credits", "balance", user).output == before


@pytest.mark.parametrize(
    "amount", ["0", "-1", "1.5", "1e3", "0x10", "5,000", "nan", "inf", "1000000001", "9" * 500]
)
def test_an_amount_is_a_whole_number_within_its_range(command: Command, user: str, amount: str) -> None:
    assert command("credits", "grant", "--", user, amount).code == 2


@pytest.mark.parametrize(
    "name", ["empty", "blank", "nul", "a line and more", "long", "bytes", "right to left"]
)
def test_a_key_that_is_none_grants_nothing(command: Command, user: str, name: str) -> None:
    """``--key "$ORDER"`` of a script whose variable is not set must not grant again and again."""
    refused = command("credits", "grant", user, "5", f"--key={TEXTS[name]}", "--json")
    assert (refused.code, "1 to 200 printable characters" in refused.errors) == (2, True)
    assert command("credits", "balance", user, "--json").json["balance"] == 0


@pytest.mark.parametrize("name", ["nul", "a line and more", "long", "bytes", "escape sequence"])
def test_a_note_that_the_ledger_cannot_show_is_wrong_usage(command: Command, user: str, name: str) -> None:
    assert command("credits", "grant", user, "5", f"--note={TEXTS[name]}").code == 2
    assert command("credits", "balance", user, "--json").json["balance"] == 0


@pytest.mark.parametrize(
    "password", ["", " \n", "x" * 2_000_000, "\udcff" * 20, "short\nbut the next line is long"]
)
def test_a_password_that_is_none_is_refused(command: Command, password: str) -> None:
    assert_refused(command("users", "create", USER, "--password-stdin", stdin=password))


# As Python starts without a file 0: sys.stdin is None, and the number is free for the next file.
CLOSED = f"""
import os, runpy, sys

os.close(0)
sys.stdin = sys.__stdin__ = None
sys.argv = ["app", "users", "create", {USER!r}, "--password-stdin"]
runpy.run_module("app", run_name="__main__")
"""


def test_a_closed_standard_input_is_wrong_usage(tmp_path: Path) -> None:
    done = run("tests.program", environment={"PROGRAM": CLOSED}, folder=tmp_path)
    assert (done.code, "Traceback" in done.errors, "standard input" in done.errors) == (2, False, True)


def test_the_error_of_a_migration_says_what_is_wrong(command: Command) -> None:
    errors = command("migrations", "upgrade", "nowhere").errors
    assert "'nowhere'" in errors
    assert "Can't locate" in errors


def test_a_secret_that_is_no_text_is_named_and_not_shown(command: Command) -> None:
    outcome = command("credits", "balance", USER, SECRET_KEY="\udcff" * 40)
    assert_refused(outcome)
    assert outcome.errors == "error: SECRET_KEY must be text: UTF-8\n"


@pytest.fixture(scope="module")
def printed() -> list[Any]:
    """The routes that ``policies --json`` prints; to put them together takes longer than to refuse a file."""
    return asyncio.run(policies(Settings(_env_file=None, app_env="test")))


def _with(**changes: Any) -> Callable[[Any], Any]:
    return lambda routes: [*routes[:-1], {**routes[-1], **changes}]


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b'{"routes":' * 100_000,
        b'{"routes": ' + b"9" * 10_000 + b"}",
        b'{"routes": {"a": 1}}',
        b'{"routes": [{"methods": "GET", "path": "/x"}]}',
        b'{"routes": [{"methods": [1], "path": "/x"}]}',
        b'{"routes": [{"methods": ["GET"], "path": 5}]}',
        b'{"routes": [{"methods": ["GET"], "path": "/\\u001b[31m"}]}',
        b'{"routes": [{"methods": ["GET"], "path": "/\\ud800"}]}',
        '{"routes": []}'.encode("utf-16"),
        bytes(range(256)),
        _with(config=5),
        _with(config=[1]),
        _with(config="abc"),
        _with(name=[1]),
        _with(kind={"a": 1}),
    ],
    ids=map(str, range(16)),
)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["", "json"])
def test_a_file_that_the_command_did_not_print_is_refused(
    command: Command,
    tmp_path: Path,
    printed: list[Any],
    content: bytes | Callable[[Any], Any],
    form: list[str],
) -> None:
    file = tmp_path / "before.json"
    if not isinstance(content, bytes):
        content = json.dumps({"routes": content(printed)}).encode()
    file.write_bytes(content)
    outcome = command("policies", f"--diff={file}", *form)
    assert_refused(outcome)
    assert "is not what `policies --json` prints" in outcome.errors


def test_what_a_file_says_does_not_reach_the_terminal_as_a_command(command: Command, tmp_path: Path) -> None:
    routes = command("policies", "--json").json["routes"]
    next(route for route in routes if route["config"])["config"]["\x1b[31m\nred"] = 1
    file = tmp_path / "before.json"
    file.write_text(json.dumps({"routes": routes}))
    outcome = command("policies", f"--diff={file}")
    assert (outcome.code, outcome.output.count("\n"), "\x1b" in outcome.output) == (1, 1, False)
    assert "\\u001b[31m\\u000ared: 1 -> -" in outcome.output
