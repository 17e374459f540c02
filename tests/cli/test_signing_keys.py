"""``keys signing``, from arguments to exit code."""

from pathlib import Path

import pytest

from tests.cli.test_commands import Command, command, servers_environment

__all__ = ["command", "servers_environment"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "signing"


def test_keys_are_made_listed_and_retired(command: Command, folder: Path) -> None:
    here = {"TOKEN__KEYS_DIR": str(folder)}
    made = command("keys", "signing", "rotate", "--in", "10", "--json", **here)
    assert made.code == 0
    assert (made.json["algorithm"], made.json["state"], made.json["verifies_until"]) == (
        "EdDSA",
        "upcoming",
        None,
    )
    first = made.json["kid"]
    assert [file.name for file in folder.iterdir()] == [f"{first}.pem"]
    listed = command("keys", "signing", "list", **here)
    assert listed.output == f"{first} EdDSA upcoming: signs from {made.json['signs_from']}\n"
    again = command("keys", "signing", "rotate", **here)
    assert (again.code, again.errors) == (1, f"error: The key {first} is waiting already; it signs soon.\n")
    document = (folder / f"{first}.pem").read_text()
    (folder / f"{first}.pem").write_text(
        f"signs-from: 2020-01-01T00:00:00Z\n{document[document.index('-----') :]}"
    )
    assert command("keys", "signing", "rotate", "--algorithm", "ES256", **here).code == 0
    left = command("keys", "signing", "retire", first, "--json", **here)
    assert [(key["algorithm"], key["state"]) for key in left.json] == [("ES256", "signing")]
    assert document.splitlines()[-2] not in made.output + listed.output + left.output


def test_what_cannot_be_done_is_one_line_and_exit_code_1(command: Command, folder: Path) -> None:
    for arguments in (["list"], ["rotate"], ["retire", "x"]):
        outcome = command("keys", "signing", *arguments)
        assert (outcome.code, outcome.errors) == (
            1, "error: TOKEN__KEYS_DIR is not set: it names the folder of the signing keys\n",
        )  # fmt: skip
    here = {"TOKEN__KEYS_DIR": str(folder)}
    for arguments in (["list"], ["retire", "x"]):
        outcome = command("keys", "signing", *arguments, **here)
        assert outcome.code == 1
        assert outcome.errors.startswith("error: ")
        assert outcome.errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["rotate", "--in", "9"], ["rotate", "--algorithm", "HS256"], ["retire"]]
)
def test_wrong_usage_is_exit_code_2(command: Command, arguments: list[str]) -> None:
    assert command("keys", "signing", *arguments).code == 2
