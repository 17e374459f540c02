"""The command line, from arguments to exit code, on real servers."""

import asyncio
import io
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import asyncpg
import httpx2
import pytest
import structlog
from fastapi import FastAPI

from app.cli import main
from app.cli._policies import policies
from app.settings import Settings

UNREACHABLE = "postgresql+asyncpg://user:hidden-word@127.0.0.1:1/name"
SAFE = {"SECRET_KEY": "k" * 48, "ENCRYPTION_KEYS": "e" * 44}


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


Command = Callable[..., Outcome]


@pytest.fixture
def servers_environment(postgres_url: str, valkey_url: str, clean_database: None) -> dict[str, str]:
    return {"DATABASE_URL": postgres_url, "VALKEY_URL": valkey_url, "VALKEY_TIMEOUT_MS": "5000"}


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    servers_environment: dict[str, str],
) -> Command:
    """Runs one command line in a folder without a `.env`, on the shared servers unless the environment says otherwise."""
    monkeypatch.chdir(tmp_path)
    logging = structlog.get_config()

    def run(*arguments: str, stdin: str = "", **environment: str) -> Outcome:
        with monkeypatch.context() as patch:
            for name, value in (servers_environment | environment).items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["app", *arguments])
            patch.setattr("sys.stdin", io.StringIO(stdin))
            with pytest.raises(SystemExit) as stopped:
                main()
            structlog.configure(**logging)
        out, err = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), out, err)

    return run


def test_no_command_is_wrong_usage_and_shows_help(command: Command) -> None:
    outcome = command()
    assert outcome.code == 2
    assert "doctor" in outcome.output + outcome.errors


def test_unknown_command_is_wrong_usage(command: Command) -> None:
    assert command("dance").code == 2


def test_user_is_created_with_a_password_from_standard_input(command: Command) -> None:
    created = command(
        "users",
        "create",
        "op@example.com",
        "--role",
        "admin",
        "--password-stdin",
        "--json",
        stdin="long enough\n",
    )
    assert created.code == 0, created.errors
    assert created.json["email"] == "op@example.com"
    assert created.json["roles"] == ["admin"]
    assert "password" not in created.json


def test_generated_password_is_printed_once(command: Command) -> None:
    created = command("users", "create", "op@example.com", "--generate", "--json")
    assert len(created.json["password"]) >= 20


def test_second_user_of_one_address_fails_in_one_line(command: Command) -> None:
    command("users", "create", "op@example.com", "--generate")
    again = command("users", "create", "OP@example.com", "--generate")
    assert again.code == 1
    assert again.errors.startswith("error: ")
    assert again.errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["users", "create", "op@example.com", "--generate", "--password-stdin"],
        ["users", "grant", "op@example.com"],
        ["users", "revoke", "op@example.com"],
        ["users", "list", "--limit=101"],
        ["users", "create"],
    ],
)
def test_options_that_make_no_sense_are_wrong_usage(command: Command, arguments: list[str]) -> None:
    assert command(*arguments).code == 2


@pytest.mark.parametrize("extra", [["--role", "emperor"], ["--scope", "rule:world"]])
def test_unknown_role_or_scope_is_refused(command: Command, extra: list[str]) -> None:
    assert command("users", "create", "op@example.com", "--generate", *extra).code == 1


def test_short_password_is_refused(command: Command) -> None:
    assert command("users", "create", "op@example.com", "--password-stdin", stdin="short\n").code == 1


def test_grant_adds_to_what_the_user_has(command: Command) -> None:
    command("users", "create", "op@example.com", "--generate", "--scope", "read:records")
    granted = command(
        "users", "grant", "op@example.com", "--role", "db_reader", "--scope", "write:records", "--json"
    )
    assert granted.json["roles"] == ["db_reader"]
    assert granted.json["scopes"] == ["read:records", "write:records"]


def test_rights_are_taken_and_users_disabled_listed_signed_out_and_deleted(
    command: Command, postgres_url: str
) -> None:
    user = ("op@example.com", "--json")
    command("users", "create", "op@example.com", "--generate", "--role=db_reader", "--scope=read:policies")
    taken = command("users", "revoke", *user, "--role=db_reader", "--role=admin", "--scope=read:credits").json
    assert (taken["roles"], taken["scopes"], taken["all_scopes"]) == (
        [],
        ["read:policies"],
        ["read:policies"],
    )
    assert command("users", "disable", *user).json["is_active"] is False
    listed = command("users", "list", "--disabled", "--json").json
    assert [one["email"] for one in listed["items"]] == ["op@example.com"]
    assert command("users", "list", "--active").output == ""
    assert command("users", "list", "--role=emperor", "--email=OP@example.com", "--limit=1").output == ""
    assert command("users", "enable", *user).json["is_active"] is True
    assert "disabled" not in command("users", "list").output
    assert command("users", "sign-out", *user).json["ended_sessions"] == 0
    assert command("users", "delete", *user, stdin="n\n").code == 1
    assert command("users", "delete", *user, "--yes").json["email"] == "op@example.com"
    for act in ("grant", "revoke"):
        assert command("users", act, "op@example.com", "--role=admin").code == 1
    for act in ("disable", "enable", "sign-out"):
        assert command("users", act, "op@example.com").errors.count("\n") == 1

    async def recorded() -> list[tuple[str, str]]:
        connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
        rows = await connection.fetch("SELECT event, actor_kind FROM audit_events ORDER BY id")
        await connection.close()
        return [tuple(row) for row in rows]

    events = ["created", "disabled", "enabled", "signed_out", "deleted"]
    done = [("user." + event, "operator") for event in events]
    done.insert(1, ("rights.revoked", "operator"))
    assert asyncio.run(recorded()) == done


def test_without_the_store_that_must_know_a_user_keeps_what_he_has(command: Command) -> None:
    command("users", "create", "op@example.com", "--generate")
    for environment in ({"VALKEY_URL": ""}, {"VALKEY_URL": "valkey://127.0.0.1:1/0"}):
        failed = command("users", "grant", "op@example.com", "--role=admin", **environment)
        assert (failed.code, "Traceback" in failed.errors) == (1, False)
        assert failed.errors.splitlines()[-1].startswith("error: ")
    assert command("users", "list", "--json", VALKEY_URL="").json["items"][0]["roles"] == []


def test_a_second_factor_is_taken_away_and_its_owner_s_sessions_end(
    command: Command, postgres_url: str
) -> None:
    user = command("users", "create", "op@example.com", "--generate", "--json").json["id"]

    async def ask(statement: str) -> list[Any]:
        connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    factor = "INSERT INTO mfa_factors (user_id, secret, begun_at, confirmed_at)"
    asyncio.run(ask(f"{factor} SELECT id, 'unreadable here', now(), now() FROM users"))
    outcomes = [command("users", "reset-mfa", "OP@example.com", "--json") for _ in range(2)]
    assert [outcome.json["mfa_was_on"] for outcome in outcomes] == [True, False]
    assert asyncio.run(ask("SELECT count(*) FROM mfa_factors")) == [(0,)]
    events = asyncio.run(
        ask("SELECT event, actor_kind, CAST(subject_id AS text) FROM audit_events ORDER BY id")
    )
    assert events == [("user.created", "operator", user), ("mfa.reset", "operator", user)]
    assert asyncio.run(ask("SELECT tokens_since IS NOT NULL FROM users")) == [(True,)]


@pytest.mark.parametrize(
    ("email", "environment", "said"),
    [
        ("nobody@example.com", {}, "There is no user with this e-mail address."),
        ("op@example.com", {"VALKEY_URL": ""}, "VALKEY_URL is not set"),
    ],
)
def test_a_second_factor_that_cannot_be_taken_away_fails_in_one_line(
    command: Command, email: str, environment: dict[str, str], said: str
) -> None:
    refused = command("users", "reset-mfa", email, **environment)
    assert (refused.code, refused.errors.count("\n")) == (1, 1)
    assert said in refused.errors


def test_grant_to_nobody_fails(command: Command) -> None:
    assert command("users", "grant", "nobody@example.com", "--role", "admin").code == 1


def test_seed_prints_passwords_and_may_run_again(command: Command) -> None:
    first, second = command("seed", "dev", "--json"), command("seed", "dev", "--json")
    assert set(first.json) == {"admin@example.com", "analyst@example.com", "viewer@example.com"}
    assert first.json["admin@example.com"] != second.json["admin@example.com"]


def test_migrations_are_listed_and_sound_without_a_server(command: Command) -> None:
    listed = command("migrations", "list", "--json", DATABASE_URL=UNREACHABLE)
    assert listed.json[0] == {
        "revision": "0001_accounts",
        "down": [],
        "message": listed.json[0]["message"],
    }
    assert command("migrations", "list").output.startswith("0001_accounts  ")
    for act in ("validate", "conflicts"):
        assert command("migrations", act, "--json").json == {"ok": True, "issues": []}
        assert command("migrations", act).output == "ok\n"


def test_migrations_status_fails_when_something_is_pending(command: Command, empty_postgres_url: str) -> None:
    assert command("migrations", "status").code == 0
    behind = command("migrations", "status", "--json", DATABASE_URL=empty_postgres_url)
    assert behind.code == 1
    assert behind.json["pending"][0] == "0001_accounts"


def test_migrations_are_shown_done_and_remembered(command: Command, empty_postgres_url: str) -> None:
    def run(*arguments: str) -> Outcome:
        return command("migrations", *arguments, DATABASE_URL=empty_postgres_url)

    assert run("history", "--json").json == []
    assert "CREATE TABLE users" in run("dry-run", "0001_accounts").output
    assert run("upgrade", "0001_accounts").code == 0
    assert [entry["revision"] for entry in run("history", "--json").json] == ["0001_accounts"]
    assert "CREATE" not in run("dry-run", "0001_accounts").output
    failed = run("dry-run", "nowhere")
    assert failed.code == 1
    assert failed.errors.count("\n") == 1


def test_rows_of_seeds_are_added_found_and_deleted(command: Command) -> None:
    assert command("seed", "dev", "--scale", "3", "--json").code == 0
    assert command("seed", "test", "--json").json == {"test users": 1, "test records": 2}
    assert command("seed", "test", "--json").json == {"test users": 0, "test records": 0}
    assert command("seed", "validate", "--json").json == {"ok": True, "issues": []}
    assert command("seed", "clear", "--json").json == {"test users": 1, "test records": 2, "records": 180}
    assert command("seed", "clear").output.splitlines()[-1] == "records: 0 rows deleted"


def test_rows_of_seeds_in_production_fail_the_validation(command: Command) -> None:
    assert command("seed", "validate", APP_ENV="production", **SAFE).output == "ok\n"
    command("seed", "test")
    found = command("seed", "validate", APP_ENV="production", **SAFE)
    assert found.code == 1
    assert found.output == "test: rows of a seed are in a production database\n"
    assert command("seed", "clear", APP_ENV="production", **SAFE).code == 1


def test_demo_is_dev(command: Command) -> None:
    assert set(command("seed", "demo", "--json").json) == set(command("seed", "dev", "--json").json)


def test_seed_is_refused_in_production(command: Command) -> None:
    refused = command("seed", "dev", APP_ENV="production", **SAFE)
    assert refused.code == 1
    assert "APP_ENV=production" in refused.errors


def test_a_migration_that_fails_is_one_line_without_rows(command: Command, empty_postgres_url: str) -> None:
    async def be_in_the_way() -> None:
        owner = await asyncpg.connect(empty_postgres_url.replace("+asyncpg", ""))
        await owner.execute("CREATE TABLE records (x int)")
        await owner.close()

    at = {"DATABASE_URL": empty_postgres_url}
    assert command("migrations", "upgrade", "0001_accounts", **at).code == 0
    asyncio.run(be_in_the_way())
    failed = command("migrations", "upgrade", **at)
    assert (failed.code, failed.errors) == (
        1,
        'error: A migration failed, and nothing of it was kept: relation "records" already exists\n',
    )
    assert command("migrations", "status", "--json", **at).json["applied"] == ["0001_accounts"]


def test_migrations_run_from_empty_and_again(command: Command, empty_postgres_url: str) -> None:
    behind = command("doctor", "--json", DATABASE_URL=empty_postgres_url, **SAFE)
    assert behind.code == 1
    assert [finding["name"] for finding in behind.json["findings"] if not finding["ok"]] == ["schema"]
    for _ in range(2):
        assert command("migrations", "upgrade", DATABASE_URL=empty_postgres_url).code == 0
    assert command("doctor", "--json", DATABASE_URL=empty_postgres_url, **SAFE).code == 0


def test_doctor_finds_a_safe_configuration_safe(command: Command) -> None:
    report = command("doctor", "--json", **SAFE)
    assert report.code == 0, report.output
    assert {finding["name"] for finding in report.json["findings"]} == {
        "configuration", "PostgreSQL", "schema", "jobs", "Valkey", "Valkey memory", "policies",
    }  # fmt: skip


def test_doctor_finds_a_file_of_secrets_that_everybody_may_read(command: Command) -> None:
    path = Path(".env")
    path.write_text("APP_NAME=x\n")
    path.chmod(0o644)
    report = command("doctor", "--json", **SAFE)
    assert report.code == 1
    assert [finding["name"] for finding in report.json["findings"] if not finding["ok"]] == ["secrets"]
    path.chmod(0o600)
    assert command("doctor", "--json", **SAFE).code == 0


def test_doctor_names_every_unsafe_variable(command: Command) -> None:
    report = command(
        "doctor",
        "--json",
        DEBUG="true",
        CORS__ORIGINS='["*"]',
        EMBEDDED_SERVERS="true",
        SUPABASE_URL="http://kong:8000",
    )
    problems = " ".join(finding["detail"] for finding in report.json["findings"] if not finding["ok"])
    assert report.code == 1
    for name in (
        "SECRET_KEY",
        "DEBUG",
        "CORS__ORIGINS",
        "ENCRYPTION_KEYS",
        "EMBEDDED_SERVERS",
        "SUPABASE_URL",
    ):
        assert name in problems


def test_doctor_works_where_production_refuses_to_start(command: Command) -> None:
    report = command("doctor", "--json", APP_ENV="production", DEBUG="true", **SAFE)
    assert report.code == 1
    assert [finding["detail"] for finding in report.json["findings"] if not finding["ok"]] == ["DEBUG is on"]


def test_doctor_says_what_is_invalid(command: Command) -> None:
    report = command("doctor", "--json", PORT="high", LOG__LEVEL="LOUD")
    assert report.code == 1
    assert "PORT: " in report.json["findings"][0]["detail"]
    assert "LOG__LEVEL: " in report.json["findings"][0]["detail"]


def test_doctor_says_which_server_does_not_answer(command: Command) -> None:
    report = command(
        "doctor", "--json", DATABASE_URL=UNREACHABLE, VALKEY_URL="valkey://:hidden-word@127.0.0.1:1/0", **SAFE
    )
    assert report.code == 1
    assert {finding["name"] for finding in report.json["findings"] if not finding["ok"]} == {
        "PostgreSQL",
        "Valkey",
    }


@pytest.mark.parametrize(
    ("url", "finding"),
    [
        (UNREACHABLE, "does not answer"),
        (None, "is no standby, so it gets no reads"),  # the primary itself
        ("hidden-word", "DATABASE_REPLICA_URL is not a URL"),
    ],
)
def test_doctor_looks_at_the_replica(
    command: Command, postgres_url: str, url: str | None, finding: str
) -> None:
    report = command("doctor", "--json", **SAFE, DATABASE_REPLICA_URL=url or postgres_url)
    assert report.code == 1
    [found] = [each for each in report.json["findings"] if each["name"] == "replica"]
    assert finding in found["detail"]
    assert "hidden-word" not in report.output + report.errors


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_doctor_never_shows_a_secret(command: Command, form: list[str]) -> None:
    secrets = {
        "SECRET_KEY": "hidden-word" * 5,
        "ENCRYPTION_KEYS": "hidden-word-1,hidden-word-2",
        "METRICS__TOKEN": "hidden-word",
        "DATABASE_URL": UNREACHABLE,
        "VALKEY_URL": "valkey://user:hidden-word@127.0.0.1:1/0",
    }
    report = command("doctor", *form, **secrets)
    assert "SECRET_KEY" in report.output
    assert "hidden-word" not in report.output + report.errors


def test_doctor_says_where_each_setting_comes_from(command: Command, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOG__LEVEL=DEBUG\nWORKERS=2\n")
    report = command("doctor", "--json", WORKERS="3")
    settings = {setting["name"]: (setting["source"], setting["value"]) for setting in report.json["settings"]}
    assert settings["WORKERS"] == ("environment", "3")
    assert settings["LOG__LEVEL"] == (".env", "DEBUG")
    assert settings["PORT"] == ("default", "8000")
    assert settings["SECRET_KEY"][1] == "set"


@pytest.mark.parametrize(
    "arguments", [["seed", "dev"], ["migrations", "upgrade"], ["users", "create", "a@b.cd", "--generate"]]
)
def test_missing_database_is_named_in_one_line(command: Command, arguments: list[str]) -> None:
    outcome = command(*arguments, DATABASE_URL="")
    assert outcome.code == 1
    assert outcome.errors.startswith("error: DATABASE_URL is not set")
    assert outcome.errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["seed", "dev"], ["migrations", "upgrade"], ["users", "create", "a@b.cd", "--generate"]]
)
def test_unreachable_database_fails_in_one_line_without_the_password(
    command: Command, arguments: list[str]
) -> None:
    outcome = command(*arguments, DATABASE_URL=UNREACHABLE)
    assert outcome.code == 1
    assert outcome.errors.count("\n") == 1
    assert "hidden-word" not in outcome.errors


def test_wrong_setting_fails_in_one_line_that_names_it(command: Command) -> None:
    outcome = command("seed", "dev", TOKEN__TTL_S="soon")
    assert outcome.code == 1
    assert outcome.errors.startswith("error: TOKEN__TTL_S: ")
    assert outcome.errors.count("\n") == 1


def test_environment_of_the_developer_is_not_seen_by_tests() -> None:
    assert "DATABASE_URL" not in os.environ


def test_policies_shows_every_route_without_any_server(command: Command) -> None:
    nowhere = {"DATABASE_URL": UNREACHABLE, "VALKEY_URL": "valkey://127.0.0.1:1/0"}
    outcome = command("policies", **nowhere)
    assert outcome.code == 0, outcome.errors
    assert "records_get" in outcome.output
    printed = command("policies", "--json", **nowhere)
    assert {route["name"] for route in printed.json["routes"]} >= {"records_get", "policies_switch", None}


def test_policies_opens_no_connection_and_prints_nothing_but_its_answer(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[object]()

    def refuse(_socket: object, address: object) -> NoReturn:
        asked.append(address)
        raise ConnectionRefusedError

    for act in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, act, refuse)
    outcome = command("policies", "--json", DATABASE_URL="", VALKEY_URL="")
    assert (outcome.code, outcome.errors, asked) == (0, "", [])
    assert list(outcome.json) == ["routes"]


async def test_policies_are_those_that_a_running_service_shows(
    app: FastAPI, client: httpx2.AsyncClient, settings: Settings
) -> None:
    token = app.state.gatehouse.tokens.issue(str(uuid4()), roles=["admin"], scopes=["read:policies"]).token
    answer = await client.get("/policies", headers={"Authorization": f"Bearer {token}"})
    shown = answer.json()["items"]
    assert [{**route, "switch": None} for route in await policies(settings)] == shown


def test_policies_diff_fails_when_something_changed_and_says_what(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    file.write_text(command("policies", "--json").output)
    same = command("policies", "--diff", str(file))
    assert (same.code, same.output) == (0, "")
    changed = command("policies", "--diff", str(file), POLICIES__RECORDS_GET__TIMEOUT="5")
    assert (changed.code, changed.output) == (1, "GET /records/{record_id}: timeout: 30.0 -> 5.0\n")
    as_json = command("policies", "--json", "--diff", str(file), POLICIES__RECORDS_GET__TIMEOUT="5")
    assert as_json.json == [
        {"route": "GET /records/{record_id}", "option": "timeout", "before": 30.0, "after": 5.0}
    ]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"routes": 1}', '{"routes": [{}]}', "\x00"])
def test_policies_diff_takes_only_what_it_printed(command: Command, tmp_path: Path, content: str) -> None:
    file = tmp_path / "before.json"
    file.write_text(content)
    outcome = command("policies", "--diff", str(file))
    assert outcome.code == 1
    assert "is not what `policies --json` prints" in outcome.errors
    assert command("policies", "--diff", str(tmp_path / "none.json")).code == 2


@pytest.mark.parametrize("arguments", [["policies"], ["doctor"]])
def test_an_override_that_does_not_fit_fails_by_its_name(command: Command, arguments: list[str]) -> None:
    outcome = command(*arguments, **SAFE, POLICIES__RECORDS_GOT__TIMEOUT="5")
    assert outcome.code == 1
    assert "POLICIES__RECORDS_GOT__TIMEOUT: there is no policy records_got" in outcome.errors + outcome.output


def test_doctor_shows_the_overrides_in_force(command: Command, tmp_path: Path) -> None:
    (tmp_path / "policies.toml").write_text("[records_list]\ntimeout = 3\n")
    report = command(
        "doctor", "--json", **SAFE, POLICIES__RECORDS_GET__TIMEOUT="5", POLICIES_FILE="policies.toml"
    ).json
    shown = {it["name"]: it["value"] for it in report["settings"] if it["source"] == "override"}
    assert shown == {"POLICIES__RECORDS_GET__TIMEOUT": "5", "policies.toml: records_list.timeout": "3"}
    assert "2 options are overridden" in next(
        it["detail"] for it in report["findings"] if it["name"] == "policies"
    )


class TestCredits:
    @pytest.fixture
    def user(self, command: Command) -> str:
        command("users", "create", "op@example.com", "--generate")
        return "op@example.com"

    def test_are_granted_and_shown(self, command: Command, user: str) -> None:
        granted = command("credits", "grant", user, "50", "--note", "welcome", "--json")
        assert granted.code == 0, granted.errors
        assert (granted.json["balance"], granted.json["granted"]) == (50, 50)
        shown = command("credits", "balance", user, "--json")
        assert (shown.json["balance"], shown.json["balance_micro"]) == (50, 50_000_000)
        assert (shown.json["plan"], shown.json["time_zone"]) == ("default", "UTC")
        assert "50" in command("credits", "balance", user).output

    def test_are_granted_once_under_one_key(self, command: Command, user: str) -> None:
        answers = [
            command("credits", "grant", user, "50", "--key", "order-7", "--json").json for _ in range(2)
        ]
        assert [(answer["balance"], answer["granted"]) for answer in answers] == [(50, 50), (50, 0)]
        assert command("credits", "grant", user, "51", "--key", "order-7").code == 1

    def test_somebody_without_any_has_nothing(self, command: Command, user: str) -> None:
        assert command("credits", "balance", user, "--json").json["balance"] == 0

    @pytest.mark.parametrize("amount", ["0", "-5", "1.5", "many", "1000000001"])
    def test_an_amount_that_makes_no_sense_is_wrong_usage(self, command: Command, amount: str) -> None:
        assert command("credits", "grant", "op@example.com", amount).code == 2

    @pytest.mark.parametrize(
        "arguments", [["grant", "nobody@example.com", "5"], ["balance", "nobody@example.com"]]
    )
    def test_of_nobody_fails_in_one_line(self, command: Command, arguments: list[str]) -> None:
        outcome = command("credits", *arguments)
        assert (outcome.code, outcome.errors.count("\n")) == (1, 1)

    def test_a_plan_and_a_time_zone_are_set(self, command: Command, user: str) -> None:
        put = command("credits", "plan", user, "--plan", "pro", "--time-zone", "Europe/Vienna", "--json")
        assert (put.json["plan"], put.json["time_zone"]) == ("pro", "Europe/Vienna")
        assert command("credits", "plan", user, "--time-zone", "Mars/Olympus").code == 1
        assert command("credits", "plan", user).code == 2

    def test_a_store_that_is_away_does_not_hold_up_a_grant(self, command: Command, user: str) -> None:
        granted = command("credits", "grant", user, "5", "--json", VALKEY_URL="valkey://127.0.0.1:1/0")
        assert (granted.code, granted.json["balance"]) == (0, 5)
