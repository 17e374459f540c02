"""docs/security.md: each row of its tables is held against the tests, the settings and the lock that it speaks of."""

import re
from collections.abc import Iterator
from pathlib import Path

from jose import backends

from app.core.security import DataEncryptor, PasswordHasher, Sealer, TokenKey
from app.settings import Settings
from tests.core.security.forgeries import forged_tokens
from tests.test_docs import ROOT, table

PAGE = ROOT / "docs" / "security.md"
LAST = {
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "9.1": 3, "9.2": 4,
    "10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 1, "10.6": 1, "10.7": 1,
    "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5,
    "14.1": 2, "14.2": 4, "14.3": 3,
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
}  # fmt: skip
"""The last requirement of level 1 or 2 in each section of ASVS 5.0; of 10.5 to 10.7, for clients and providers, one row each."""

OTHERWISE = ("**not met**", "operator", "none here")


def rows() -> dict[str, list[str]]:
    return table(PAGE, "ASVS")


def named_in(cell: str) -> list[str]:
    return re.findall(r"`(tests/[\w/]+\.py::\w+)`", cell)


class TestAsvs:
    def test_its_table_is_complete(self) -> None:
        assert list(rows()) == [
            f"{section}.{i}" for section, last in LAST.items() for i in range(1, last + 1)
        ]

    def test_every_row_names_a_test_that_exists_or_says_that_there_is_none(self) -> None:
        wrong = []
        for number, (*_, shown) in rows().items():
            named = named_in(shown)
            if not named and not shown.startswith(OTHERWISE):
                wrong.append(f"{number}: {shown}")
            for test in named:
                path, _, name = test.partition("::")
                file = ROOT / path
                if not file.exists() or not re.search(rf"def {name}\(", file.read_text()):
                    wrong.append(f"{number}: {test} does not exist")
        assert wrong == []

    def test_most_rows_have_a_test(self) -> None:
        assert sum(bool(named_in(shown)) for *_, shown in rows().values()) >= 80


class TestSecrets:
    def test_every_secret_of_the_settings_has_its_rotation(self) -> None:
        named = set(re.findall(r"`([A-Z_]+)`", " ".join(self.first_cells())))
        assert {name for name in secrets_of(Settings) if name not in named} == set()

    def first_cells(self) -> list[str]:
        return [f"`{name}`" for name in table(PAGE, "secret")]


def secrets_of(settings: type[Settings]) -> Iterator[str]:
    """Names of the variables whose values are not shown."""
    for name, field in settings.model_fields.items():
        if "SecretStr" in str(field.annotation):
            yield name.upper()
        for inner, part in getattr(type(field.default), "model_fields", {}).items():
            if "SecretStr" in str(part.annotation):
                yield f"{name}__{inner}".upper()


class TestCryptography:
    def test_what_it_says_of_cryptography_is_so(self) -> None:
        said = {what: cells[0] for what, cells in table(PAGE, "what").items()}
        assert said["passwords"] == "argon2id"
        assert PasswordHasher(memory_kib=64, time_cost=1, parallelism=1).hash("x").startswith("$argon2id$")
        assert TokenKey.from_secret("s" * 32).algorithm in said["access tokens"]
        assert "AES-256-GCM" in said["kept answers, the successor of a refresh token"]
        assert "AESGCM" in (ROOT / "app/core/security/_sealing.py").read_text()
        assert said["columns, fields, arguments"] == "Fernet"
        assert DataEncryptor(["k" * 32]).encrypt("x")
        assert repr(Sealer(["k" * 32]))

    def test_no_weak_hash_or_cipher_is_named_anywhere_in_the_code(self) -> None:
        weak = re.compile(r"\b(?:md5|sha1|ECB|TripleDES|ARC4)\b")
        found = [
            f"{path.relative_to(ROOT)}: {line.strip()}"
            for path in ROOT.glob("app/**/*.py")
            for line in path.read_text().splitlines()
            if weak.search(line) and "usedforsecurity=False" not in line
        ]
        assert found == []

    def test_signatures_are_checked_by_openssl_and_not_by_the_packages_in_python(self) -> None:
        for key in (backends.ECKey, backends.RSAKey, backends.HMACKey):
            assert key.__module__ == "jose.backends.cryptography_backend"

    def test_tokens_of_the_forging_suite_are_as_many_as_it_says(self) -> None:
        assert f"has {len(forged_tokens())} tokens" in PAGE.read_text()


class TestDependencies:
    def test_the_lock_has_nothing_below_what_was_judged(self) -> None:
        judged = table(PAGE, "package")
        assert len(judged) >= 10
        assert [name for name, (least, _) in judged.items() if locked()[name] < _version(least)] == []

    def test_an_older_version_would_be_found(self) -> None:
        assert _version("3.3.0") < _version("3.4.0") <= locked()["python-jose"]
        assert _version("0.9.1") < _version("0.49.1") < _version("1.0")

    def test_the_audit_fails_when_a_package_could_not_be_asked_about(self) -> None:
        recipe = (ROOT / "Makefile").read_text().partition("\naudit:")[2].partition("\n\n")[0]
        assert "pip-audit" in recipe
        assert "--strict" in recipe
        assert "requirements.lock" in recipe


def locked() -> dict[str, tuple[int, ...]]:
    """The version of each locked package."""
    pins = re.findall(r"^([a-z0-9-]+)==([0-9.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return {name: _version(text) for name, text in pins}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def test_the_policy_for_reports_and_the_page_name_each_other() -> None:
    policy = Path(ROOT / "SECURITY.md").read_text()
    assert "docs/security.md" in policy
    assert "](../SECURITY.md)" in PAGE.read_text()
    assert {"## Reporting", "## Supported versions", "## In scope"} <= set(policy.splitlines())


def test_password_fields_are_masked_and_can_be_pasted_into() -> None:
    pages = [path.read_text() for path in ROOT.glob("app/**/templates/**/*.html")]
    fields = [field for page in pages for field in re.findall(r"<input[^>]*name=.password.[^>]*>", page)]
    assert fields
    assert [field for field in fields if 'type="password"' not in field or "autocomplete=" not in field] == []
    assert [page for page in pages if "onpaste" in page] == []
