"""Settings: names, aliases, defaults, and what production refuses."""

import json
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from app.builtin.accounts.service import SignInLimits
from app.core.db import QUERY_TAGS
from app.core.errors import ConfigurationError
from app.settings import DEVELOPMENT_SECRET, Settings, describe_errors

SECRET = "a-secret-of-these-tests-with-over-32-bytes"
SAFE = {
    "APP_ENV": "production",
    "SECRET_KEY": SECRET,
    "ENCRYPTION_KEYS": "one-key-of-thirty-two-characters",
    "DATABASE_URL": "postgresql+asyncpg://app:hidden-word@db/app",
    "VALKEY_URL": "valkey://cache:6379/0",
}

MAIL = {"MAIL__HOST": "mail.example.com", "MAIL__BASE_URL": "https://app.example.com"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Reads settings from exactly these variables."""

    def read(**variables: str) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Settings(_env_file=None)

    return read


def refusal(read: Any, **variables: str) -> str:
    with pytest.raises(ValidationError) as caught:
        read(**variables)
    return describe_errors(caught.value)


class TestDefaults:
    def test_development_needs_no_variable_at_all(self, read: Any) -> None:
        settings = read()
        assert (settings.app_env, settings.postgres_url, settings.store_url) == ("development", None, None)
        assert settings.secret_key.get_secret_value() == DEVELOPMENT_SECRET
        assert (settings.token.ttl_s, settings.valkey_timeout_ms, settings.max_body_bytes) == (
            900,
            25,
            1_048_576,
        )
        assert (settings.cors.origins, settings.trusted_proxies, settings.debug) == ([], [], False)

    @pytest.mark.parametrize(
        ("environment", "size", "overflow"), [("production", 5, 10), ("development", 2, 5), ("test", 2, 5)]
    )
    def test_the_pool_has_the_documents_size_for_its_environment(
        self, read: Any, environment: str, size: int, overflow: int
    ) -> None:
        settings = read(**{**SAFE, "APP_ENV": environment})
        assert (settings.pool_size, settings.max_overflow) == (size, overflow)
        assert (settings.db_pool_timeout, settings.db_pool_recycle) == (30, 1800)

    def test_the_pool_can_be_tuned_under_the_documents_names(self, read: Any) -> None:
        settings = read(
            DB_POOL_SIZE="7", DB_MAX_OVERFLOW="0", DB_POOL_TIMEOUT="1.5", DB_POOL_RECYCLE="60", APP_ENV="test"
        )
        assert (settings.pool_size, settings.max_overflow) == (7, 0)
        assert (settings.db_pool_timeout, settings.db_pool_recycle) == (1.5, 60)

    def test_an_empty_variable_is_an_absent_one(self, read: Any) -> None:
        assert read(DB_POOL_SIZE="", DATABASE_URL="").postgres_url is None

    def test_secrets_of_webhooks_are_given_by_source_and_not_shown(self, read: Any) -> None:
        for variables in (
            {"WEBHOOK_SECRETS": '{"Shop": "whsec_a, whsec_b"}'},
            {"WEBHOOK_SECRETS__SHOP": "whsec_a,whsec_b"},
        ):
            settings = read(**variables)
            assert settings.webhook_keys == {"shop": ["whsec_a", "whsec_b"]}
            assert "whsec_" not in repr(settings)

    def test_settings_cannot_be_changed(self, read: Any) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            read().debug = True


class TestNames:
    @pytest.mark.parametrize("name", ["DATABASE_URL", "ADMIN_DATABASE_URL"])
    def test_the_database_has_two_names(self, read: Any, name: str) -> None:
        assert read(**{name: "postgresql://u:p@db/app"}).postgres_url == "postgresql://u:p@db/app"

    @pytest.mark.parametrize("name", ["VALKEY_URL", "REDIS_URL"])
    def test_the_store_has_two_names(self, read: Any, name: str) -> None:
        assert read(**{name: "redis://cache:6379/0"}).store_url == "redis://cache:6379/0"

    @pytest.mark.parametrize(
        ("name", "other"), [("DATABASE_URL", "ADMIN_DATABASE_URL"), ("VALKEY_URL", "REDIS_URL")]
    )
    def test_two_names_with_different_values_refuse_to_start_and_show_no_value(
        self, read: Any, name: str, other: str
    ) -> None:
        message = refusal(read, **{name: "scheme://one-value", other: "scheme://another"})
        assert message == f"{name} and {other} are both set and differ; set one of them"

    @pytest.mark.parametrize(
        ("name", "other"), [("DATABASE_URL", "ADMIN_DATABASE_URL"), ("VALKEY_URL", "REDIS_URL")]
    )
    def test_two_names_with_one_value_are_fine(self, read: Any, name: str, other: str) -> None:
        settings = read(**{name: "scheme://value", other: "scheme://value"})
        assert "scheme://value" in (settings.postgres_url, settings.store_url)

    def test_groups_are_written_with_two_underscores(self, read: Any) -> None:
        settings = read(
            CORS__ORIGINS='["https://a.example"]',
            METRICS__NETWORKS='["10.0.0.0/8"]',
            METRICS__TOKEN="collector-token",
            LOG__LEVEL="WARNING",
            TOKEN__TTL_S="60",
            LOGIN__PER_ACCOUNT="3",
        )
        assert settings.cors.origins == ["https://a.example"]
        assert settings.metrics.networks == [ip_network("10.0.0.0/8")]
        assert settings.metrics.token is not None
        assert settings.metrics.token.get_secret_value() == "collector-token"
        assert (settings.log.level, settings.token.ttl_s, settings.login.per_account) == ("WARNING", 60, 3)

    @pytest.mark.parametrize("text", ["10.0.0.0/8, 192.168.0.0/16", '["10.0.0.0/8", "192.168.0.0/16"]'])
    def test_lists_are_written_with_commas_or_as_json(self, read: Any, text: str) -> None:
        assert read(TRUSTED_PROXIES=text).trusted_proxies == [
            ip_network("10.0.0.0/8"),
            ip_network("192.168.0.0/16"),
        ]

    def test_an_env_file_is_read_and_the_environment_wins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / ".env"
        file.write_text("PORT=1234\nAPP_NAME=from-file\nSOMETHING_ELSE=1\n")
        monkeypatch.setenv("PORT", "4321")
        settings = Settings(_env_file=file)
        assert (settings.port, settings.app_name) == (4321, "from-file")


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("APP_ENV", "prod"),
            ("PORT", "65536"),
            ("PORT", "-1"),
            ("WORKERS", "0"),
            ("WORKERS", "257"),
            ("REPLICAS", "0"),
            ("DB_POOL_SIZE", "-1"),
            ("DB_MAX_OVERFLOW", "-2"),
            ("DB_POOL_TIMEOUT", "0"),
            ("DB_POOL_RECYCLE", "-2"),
            ("DB_STATEMENT_TIMEOUT_S", "-1"),
            ("VALKEY_TIMEOUT_MS", "0"),
            ("VALKEY_TIMEOUT_MS", "10001"),
            ("VALKEY_MAX_PENDING", "0"),
            ("MAX_BODY_BYTES", "-1"),
            ("MAX_IN_FLIGHT", "0"),
            ("SHUTDOWN_GRACE_S", "-1"),
            ("TRUSTED_PROXIES", "10.0.0.0/33"),
            ("TRUSTED_PROXIES", '["10.0.0.0/8"'),
            ("DEBUG", "perhaps"),
            ("TOKEN__TTL_S", "59"),
            ("TOKEN__TTL_S", "86401"),
            ("LOG__LEVEL", "LOUD"),
            ("LOG__FORMAT", "xml"),
            ("LOGIN__PER_ACCOUNT", "0"),
            ("LOGIN__DELAY_MAX_S", "86401"),
            ("LOGIN__DEVICES", "0"),
            ("CORS__MAX_AGE_S", "86401"),
            ("METRICS__NETWORKS", '["nowhere"]'),
            ("SUPABASE_URL", "project"),
            ("SUPABASE_URL", "https://"),
            ("SUPABASE_URL", "ftp://project.supabase.co"),
            ("SUPABASE_URL", "https://project.supabase.co/auth/v1"),
            ("SUPABASE_URL", "https://project.supabase.co?x"),
            ("SUPABASE_URL", "https://user@project.supabase.co"),
            ("SUPABASE_URL", "https://PROJECT.supabase.co"),
            ("SUPABASE_URL", "https://project..supabase.co"),
            ("SUPABASE_URL", "https://project.supabase.co\n.evil.example"),
            ("SUPABASE_URL", "http://localhost:65536"),
            ("SUPABASE_JWT_SECRET", "x" * 32),
        ],
    )
    def test_a_value_out_of_range_is_refused_by_the_variables_name(
        self, read: Any, name: str, value: str
    ) -> None:
        assert refusal(read, **{name: value}).startswith(name)

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"PER_NETWORK": "9001", "ACCOUNT_WINDOW_S": "1000000"}, "per_network"),
            ({"DELAY_AFTER": "347", "DELAY_MAX_S": "86400"}, "delay_after"),
            ({"PER_ACCOUNT": "347", "DELAY_MAX_S": "86400"}, "per_account"),
        ],
    )
    def test_login_limits_that_cannot_be_counted_exactly_are_refused(
        self, read: Any, changes: dict[str, str], named: str
    ) -> None:
        assert named in refusal(read, **{f"LOGIN__{name}": value for name, value in changes.items()})

    def test_the_largest_login_limits_can_be_counted(self, read: Any) -> None:
        for changes in (
            {"PER_NETWORK": "9000", "ACCOUNT_WINDOW_S": "1000000"},
            {"DELAY_AFTER": "346", "DELAY_MAX_S": "86400"},
        ):
            login = read(**{f"LOGIN__{name}": value for name, value in changes.items()}).login
            limits = SignInLimits(
                per_account=login.per_account, per_network=login.per_network, window_s=login.account_window_s,
                delay_after=login.delay_after, delay_s=1, delay_max_s=login.delay_max_s, per_device=login.per_account,
            )  # fmt: skip
            assert limits.near()
            assert limits.delays(limits.delay_after)

    @pytest.mark.parametrize(
        ("written", "url"),
        [
            ("https://project.supabase.co", "https://project.supabase.co"),
            ("https://project.supabase.co/", "https://project.supabase.co"),
            ("http://localhost:54321", "http://localhost:54321"),
            ("http://127.0.0.1:54321/", "http://127.0.0.1:54321"),
            ("http://[::1]:54321", "http://[::1]:54321"),
            ("http://supabase_kong:8000", "http://supabase_kong:8000"),
        ],
    )
    def test_a_supabase_project_is_named_by_its_origin(self, read: Any, written: str, url: str) -> None:
        assert read(SUPABASE_URL=written).supabase_url == url

    def test_a_short_secret_of_a_project_is_refused_and_not_shown(self, read: Any) -> None:
        message = refusal(read, SUPABASE_URL="https://a.supabase.co", SUPABASE_JWT_SECRET="short-secret")
        assert message == "SUPABASE_JWT_SECRET must be 32 bytes or more"

    def test_an_unknown_name_in_a_group_is_refused(self, read: Any) -> None:
        assert refusal(read, CORS__ORIGIN='["https://a.example"]').startswith("CORS__ORIGIN: ")

    def test_a_short_secret_is_refused_and_not_shown(self, read: Any) -> None:
        message = refusal(read, SECRET_KEY="short-secret")
        assert message == "SECRET_KEY must be 32 bytes or more"

    def test_secrets_do_not_show_in_the_settings_text(self, read: Any) -> None:
        shown = repr(read(**SAFE))
        assert not [secret for secret in (SECRET, "hidden-word", "one-key-of") if secret in shown]


class TestProduction:
    def test_a_safe_configuration_starts(self, read: Any) -> None:
        assert read(**SAFE).is_production

    @pytest.mark.parametrize(
        ("changes", "named"),
        [
            ({"SECRET_KEY": DEVELOPMENT_SECRET}, "SECRET_KEY"),
            ({"DEBUG": "true"}, "DEBUG"),
            ({"CORS__ORIGINS": '["*"]'}, "CORS__ORIGINS"),
            ({"CORS__ORIGINS": '["https://a.example", "*"]'}, "CORS__ORIGINS"),
            ({"ENCRYPTION_KEYS": ""}, "ENCRYPTION_KEYS"),
            ({"EMBEDDED_SERVERS": "true"}, "EMBEDDED_SERVERS"),
            ({"DATABASE_URL": ""}, "DATABASE_URL"),
            ({"VALKEY_URL": ""}, "VALKEY_URL"),
            ({"SUPABASE_URL": "http://project.supabase.co"}, "SUPABASE_URL"),
            ({"MAIL__BACKEND": "console"}, "MAIL__BACKEND"),
            ({"MAIL__HOST": "mail.example.com"}, "MAIL__BASE_URL"),
            ({**MAIL, "MAIL__TLS": "none"}, "MAIL__TLS"),
        ],
    )
    def test_one_unsafe_variable_stops_the_start_and_only_it_is_named(
        self, read: Any, changes: dict[str, str], named: str
    ) -> None:
        message = refusal(read, **{**SAFE, **changes})
        assert message.startswith(f"APP_ENV=production refuses to start: {named}")
        others = set(SAFE) - {"APP_ENV", named}
        assert not [name for name in others if name in message]
        assert SECRET not in message

    @pytest.mark.parametrize(
        "changes", [{"DEBUG": "true"}, {"CORS__ORIGINS": '["*"]'}, {"SUPABASE_URL": "http://localhost:54321"}]
    )
    def test_elsewhere_the_same_is_allowed(self, read: Any, changes: dict[str, str]) -> None:
        assert not read(**{**SAFE, **changes, "APP_ENV": "development"}).is_production

    def test_the_older_name_of_the_encryption_key_counts(self, read: Any) -> None:
        assert read(**{**SAFE, "ENCRYPTION_KEYS": "", "DB_ENCRYPTION_KEY": "k" * 32}).is_production

    def test_all_that_is_unsafe_is_told_at_once(self, read: Any) -> None:
        message = refusal(read, APP_ENV="production")
        assert [
            name
            for name in ("SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL", "VALKEY_URL")
            if name not in message
        ] == []


class TestSealingKeys:
    def test_all_that_are_configured_count_newest_first(self, read: Any) -> None:
        settings = read(ENCRYPTION_KEYS="first,second", DB_ENCRYPTION_KEY="third")
        assert settings.sealing_keys == ["first", "second", "third"]

    def test_the_secret_key_serves_alone_and_never_in_production(self, read: Any) -> None:
        assert read(SECRET_KEY=SECRET).sealing_keys == [SECRET]
        assert read(**SAFE).sealing_keys == [SAFE["ENCRYPTION_KEYS"]]


def test_overrides_of_policies_are_taken_as_they_stand_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("POLICIES__A__TIMEOUT=1\nPOLICIES__A__QUOTA__DAY__LIMIT=2\nPOLICIES__A__CACHE=\n")
    monkeypatch.setenv("POLICIES__A__TIMEOUT", "3")
    settings = Settings(_env_file=file, policies_file=tmp_path / "policies.toml")
    assert settings.policy_variables == {"POLICIES__A__TIMEOUT": "3", "POLICIES__A__QUOTA__DAY__LIMIT": "2"}
    assert settings.policies_file == tmp_path / "policies.toml"


class TestQueryTools:
    ALL = ("route", "policy", "request_id")

    @pytest.mark.parametrize(
        ("environment", "tags", "limit"), [("development", ALL, 5), ("test", (), 0), ("production", (), 0)]
    )
    def test_are_on_in_development_only(self, environment: Any, tags: tuple[str, ...], limit: int) -> None:
        settings = Settings(_env_file=None).model_copy(update={"app_env": environment})
        assert (settings.query_tags, settings.repeat_limit) == (tags, limit)

    def test_tags_are_those_of_the_data_layer(self) -> None:
        assert sorted(Settings(_env_file=None).query_tags) == sorted(QUERY_TAGS)

    @pytest.mark.parametrize(
        ("written", "tags"), [("policy", ("policy",)), ("policy,route", ("policy", "route")), ("none", ())]
    )
    def test_what_is_asked_for_wins(
        self, monkeypatch: pytest.MonkeyPatch, written: str, tags: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("DB_QUERY_TAGS", written)
        monkeypatch.setenv("DB_REPEAT_LIMIT", "7")
        for environment in ("development", "production"):
            settings = Settings(_env_file=None).model_copy(update={"app_env": environment})
            assert (settings.query_tags, settings.repeat_limit) == (tags, 7)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("DB_QUERY_TAGS", "user"), ("DB_REPEAT_LIMIT", "1"), ("DB_REPEAT_LIMIT", "-2")],
    )
    def test_what_means_nothing_is_refused_by_name(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ValidationError) as caught:
            Settings(_env_file=None)
        assert name in describe_errors(caught.value)


class TestReplica:
    def test_without_its_url_there_is_none(self) -> None:
        assert Settings(_env_file=None).replica() is None

    def test_it_gets_the_database_s_options(self) -> None:
        settings = Settings(
            _env_file=None, database_replica_url="postgresql://user:hidden@replica/name", db_pool_size=7
        )
        replica = settings.replica()
        assert replica is not None
        assert replica.database.pool_status().size == 7
        assert "hidden" not in repr(replica)

    def test_a_url_that_is_none_is_refused_under_its_name(self) -> None:
        settings = Settings(_env_file=None, database_replica_url="mysql://user:hidden@replica/name")
        with pytest.raises(ConfigurationError, match="DATABASE_REPLICA_URL must name") as refusal:
            settings.replica()
        assert "hidden" not in str(refusal.value)


class TestMail:
    @pytest.mark.parametrize(
        ("environment", "variables", "chosen"),
        [
            ("development", {}, "console"),
            ("test", {}, "console"),
            ("production", {}, "none"),
            ("production", MAIL, "smtp"),
            ("development", MAIL, "smtp"),
            ("development", {**MAIL, "MAIL__BACKEND": "none"}, "none"),
            ("production", {**MAIL, "MAIL__HOST": "127.0.0.1", "MAIL__TLS": "none"}, "smtp"),
        ],
    )
    def test_who_sends_follows_from_the_environment(
        self, read: Any, environment: str, variables: dict[str, str], chosen: str
    ) -> None:
        assert read(**{**SAFE, "APP_ENV": environment, **variables}).mail_backend == chosen

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"MAIL__BACKEND": "smtp"}, "MAIL__HOST"),
            ({"MAIL__USERNAME": "gate"}, "go together"),
            ({"MAIL__SENDER": "nobody"}, "MAIL__SENDER"),
            ({"MAIL__SENDER": "a@example.com, b@example.com"}, "MAIL__SENDER"),
            ({"MAIL__SENDER": "a@example.com\r\nBcc: b@example.com"}, "MAIL__SENDER"),
            ({"MAIL__BASE_URL": "app.example.com"}, "MAIL__BASE_URL"),
            ({"MAIL__BASE_URL": "javascript://app.example.com"}, "MAIL__BASE_URL"),
            ({"MAIL__BASE_URL": "https://app.example.com/#x"}, "MAIL__BASE_URL"),
            ({"MAIL__BASE_URL": "https://user@app.example.com"}, "MAIL__BASE_URL"),
            ({"MAIL__BASE_URL": "https://app.example.com:x"}, "MAIL__BASE_URL"),
            ({"MAIL__BASE_URL": "https://app.example.com\nx"}, "MAIL__BASE_URL"),
            ({"MAIL__RESET_TTL_S": "1801"}, "MAIL__RESET_TTL_S"),
            ({"REGISTRATION__ENABLED": "true", "MAIL__BACKEND": "none"}, "REGISTRATION__ENABLED"),
        ],
    )
    def test_what_cannot_work_stops_the_start(self, read: Any, variables: dict[str, str], words: str) -> None:
        assert words in refusal(read, **variables)

    def test_a_sender_may_have_a_name_and_the_pages_a_path(self, read: Any) -> None:
        mail = read(
            MAIL__SENDER="Gatehouse <no-reply@example.com>", MAIL__BASE_URL="https://app.example.com/account/"
        ).mail
        assert (mail.sender, mail.base_url) == (
            "Gatehouse <no-reply@example.com>",
            "https://app.example.com/account",
        )


class TestAcceptedSecrets:
    def test_they_stand_behind_the_secret_key_each_once(self, read: Any) -> None:
        settings = read(SECRET_KEY=SECRET, SECRET_KEYS_ACCEPTED=f"{'n' * 32}, {SECRET}")
        assert settings.secrets == [SECRET, "n" * 32]
        assert settings.sealing_keys[:2] == [SECRET, "n" * 32]

    @pytest.mark.parametrize(
        ("value", "message"),
        [("n" * 31, "must be 32 bytes or more"), ("\udcff" * 40, "must be text: UTF-8")],
    )
    def test_a_bad_one_is_refused_without_being_shown(self, read: Any, value: str, message: str) -> None:
        found = refusal(read, SECRET_KEYS_ACCEPTED=f"{'g' * 32},{value}")
        assert found == f"Each of SECRET_KEYS_ACCEPTED {message}"

    def test_production_does_not_accept_the_development_secret(self, read: Any) -> None:
        settings = read(SECRET_KEYS_ACCEPTED=DEVELOPMENT_SECRET, SECRET_KEY=SECRET)
        assert "SECRET_KEYS_ACCEPTED holds the development secret" in settings.unsafe_for_production()


class TestIssuers:
    ONE: ClassVar[dict[str, Any]] = {"issuer": "https://id.example/realm", "audience": "https://api.example"}

    def test_none_are_trusted_by_default(self, read: Any) -> None:
        assert read().oidc == []

    def test_a_list_or_a_single_one_is_read_with_what_it_gives(self, read: Any) -> None:
        roles = {"claim": ["realm_access", "roles"], "names": {"reader": "db_reader"}}
        scopes = {"claim": "scope", "prefix": "gh:", "names": ["read:records"]}
        for text in (
            json.dumps([{**self.ONE, "roles": roles, "scopes": scopes}]),
            json.dumps({**self.ONE, "roles": roles, "scopes": scopes}),
        ):
            (issuer,) = read(OIDC=text).oidc
            options = issuer.options()
            assert (options.issuer, options.plain_jwt, options.trust_authentication) == (
                self.ONE["issuer"],
                False,
                False,
            )
            assert options.roles.claim == ("realm_access", "roles")
            assert (options.scopes.claim, options.scopes.names) == (
                ("scope",),
                {"read:records": "read:records"},
            )

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("https://id.example", "OIDC: must be a JSON list"),
            ("[1]", "OIDC__0: "),
            ('{"issuer": "https://id.example"}', "OIDC__0__AUDIENCE: Field required"),
            ('{"issuer": "http://id.example", "audience": "a"}', "OIDC__0: issuer must be https"),
            ('{"issuer": "https://id.example", "audience": "a", "jwks_url": "http://id.example"}', "OIDC__0: jwks_url must be"),
            ('{"issuer": "https://id.example", "audience": "a", "algorithms": ["HS256"]}', "OIDC__0__ALGORITHMS__0"),
            ('{"issuer": "https://id.example", "audience": "a", "algorithms": []}', "OIDC__0: algorithms"),
            ('{"issuer": "https://id.example", "audience": "a", "secret": "x"}', "OIDC__0__SECRET"),
            ('{"issuer": "https://id.example", "audience": "a", "roles": {"claim": "x", "names": []}}', "OIDC__0: a mapping"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_named(self, read: Any, value: str, message: str) -> None:
        assert message in refusal(read, OIDC=value)

    def test_production_refuses_an_issuer_without_tls(self, read: Any) -> None:
        local = {"issuer": "http://localhost:8080/realm", "audience": "a"}
        assert any("OIDC" in problem for problem in read(OIDC=json.dumps([local])).unsafe_for_production())
        assert not any(
            "OIDC" in problem for problem in read(OIDC=json.dumps([self.ONE])).unsafe_for_production()
        )
