import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core import security
from app.core.resilience import ManualClock
from app.core.security import (
    TokenKey,
    TokenService,
    check_rights,
    format_scope,
    is_role,
    known_roles,
    known_scopes,
    parse_scope,
    register_role,
    register_scope,
    scopes_of,
    unknown_roles,
    unknown_scopes,
)
from app.core.security import _scopes as _module
from app.core.security._scopes import _roles, _scopes
from tests.core.security.test_key_set import private

ROOT = Path(security.__file__).parents[2]


class TestSyntax:
    @pytest.mark.parametrize(
        ("text", "scopes"),
        [
            ("", set()),
            (" ", set()),
            ("read:records", {"read:records"}),
            ("b a  a", {"a", "b"}),
            ("run:cpu_job write:records", {"run:cpu_job", "write:records"}),
        ],
    )
    def test_a_space_separated_list_is_read(self, text: str, scopes: set[str]) -> None:
        assert parse_scope(text) == scopes

    @pytest.mark.parametrize(
        "text", ["A", "a\tb", "a\nb", "a\n", 'a"', "a\\", "é", "1a", "a" * 65, "a\0", "a,b", "a " * 65]
    )
    def test_any_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="space-separated"):
            parse_scope(text)

    @settings(deadline=None)
    @given(st.frozensets(st.from_regex(r"[a-z][a-z0-9_.:-]{0,63}", fullmatch=True), max_size=20))
    def test_what_is_written_is_read_again(self, scopes: frozenset[str]) -> None:
        assert parse_scope(format_scope(scopes)) == scopes
        assert all(is_role(name) for name in scopes)

    def test_the_list_is_sorted(self) -> None:
        assert format_scope({"b", "a"}) == "a b"


class TestKnownNames:
    def test_the_documented_scopes_and_roles_are_known(self) -> None:
        documented = {
            "read:records",
            "write:records",
            "read:external",
            "run:cpu_job",
            "read:monitor",
            "write:monitor",
        }
        assert documented <= set(known_scopes)
        assert set(known_roles) >= {"db_reader", "io_user", "cpu_user", "admin"}

    def test_a_registered_name_is_known_from_then_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(_scopes, "read:orders", raising=False)
        monkeypatch.delitem(_roles, "clerk", raising=False)
        assert unknown_scopes(["read:orders", "read:records"]) == ["read:orders"]
        assert unknown_roles(["clerk", "admin"]) == ["clerk"]
        register_scope("read:orders", "List orders")
        register_role("clerk", "Works on orders")
        assert unknown_scopes(["read:orders"]) == unknown_roles(["clerk"]) == []
        del _scopes["read:orders"], _roles["clerk"]

    def test_the_same_registration_twice_is_one_and_a_different_one_is_refused(self) -> None:
        register_scope("read:records", known_scopes["read:records"])
        with pytest.raises(ValueError, match="another description"):
            register_scope("read:records", "Something else")

    @pytest.mark.parametrize("name", ["", "Read", "read records", "é"])
    def test_a_name_of_another_form_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="lower-case"):
            register_role(name, "x")

    def test_more_names_than_a_token_carries_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for known, register in ((_scopes, register_scope), (_roles, register_role)):
            with monkeypatch.context() as patch:
                for number in range(64 - len(known)):
                    patch.setitem(known, f"extra:{number}", "one more")
                name, text = next(iter(known.items()))
                register(name, text)  # as before
                with pytest.raises(ValueError, match="one too many"):
                    register("extra:last", "one more")
                assert "extra:last" not in known


class TestCheckRights:
    NAMES: ClassVar = [f"name:{number}" for number in range(65)]

    def test_as_many_as_a_token_carries_are_fine(self) -> None:
        check_rights(self.NAMES[:64], self.NAMES[:64])
        check_rights(["x" * 62 + str(n) for n in range(10)] * 9, [])

    @pytest.mark.parametrize(
        ("roles", "scopes", "message"),
        [
            (NAMES, [], "64 roles"),
            ([], NAMES, "64 scopes"),
            ([f"{n:064}" for n in range(32)], [f"{n:064}" for n in range(31)], "4000 characters"),
        ],
    )
    def test_more_is_refused_and_said(self, roles: list[str], scopes: list[str], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            check_rights(roles, scopes)

    @pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
    def test_what_it_lets_pass_fits_into_a_token(self, algorithm: str) -> None:
        key = private("RS256") if algorithm == "RS256" else TokenKey.from_secret("s" * 32)
        tokens = TokenService(
            [key], issuer="i" * 255, audience="a" * 255, clock=ManualClock(start=1_800_000_000)
        )
        scopes = [f"s{n:061}" for n in range(32)]
        roles = [f"r{n:030}" for n in range(64)]
        check_rights(roles, scopes)
        assert sum(map(len, scopes + roles)) > 3950
        text = tokens.issue("u" * 36, scopes=scopes, roles=roles, session_id="s" * 36).token
        assert tokens.verify(text).roles == set(roles)


class TestRoles:
    @pytest.fixture(autouse=True)
    def forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a test registers is not known to the next."""
        for name in ("_scopes", "_roles", "_carried"):
            known = getattr(_module, name)
            kept = {key: set(value) if isinstance(value, set) else value for key, value in known.items()}
            monkeypatch.setattr(_module, name, kept)

    def test_a_role_carries_what_was_registered_for_it_and_nothing_else(self) -> None:
        assert scopes_of(["db_reader", "io_user"]) == {"read:records", "read:external"}
        assert scopes_of([]) == scopes_of(["nobody_knows"]) == frozenset()

    def test_a_role_of_ones_own_carries_scopes_that_are_known(self) -> None:
        register_role("usher", "Shows seats", scopes=["read:records"])
        register_scope("read:seats", "List seats", roles=["usher"])
        register_role("usher", "Shows seats")  # registered again it loses none
        assert scopes_of(["usher"]) == {"read:records", "read:seats"}
        assert "read:seats" not in scopes_of(["admin"])

    @pytest.mark.parametrize("name", ["read:order", "read:*", "*", ""])
    def test_a_scope_that_nobody_knows_is_carried_by_no_role(self, name: str) -> None:
        with pytest.raises(ValueError, match="no scope has the name"):
            register_role("usher", "Shows seats", scopes=[name])
        assert unknown_roles(["usher"]) == ["usher"]

    def test_a_scope_is_not_given_to_a_role_that_nobody_knows(self) -> None:
        with pytest.raises(ValueError, match="no role has the name"):
            register_scope("read:seats", "List seats", roles=["usher"])
        assert unknown_scopes(["read:seats"]) == ["read:seats"]


class TestStructure:
    @pytest.mark.parametrize(("library", "module"), [("jose", "_signature.py"), ("passlib", "_passwords.py")])
    def test_only_one_module_of_the_application_imports_the_library(self, library: str, module: str) -> None:
        importers = {
            path.name
            for path in ROOT.rglob("*.py")
            if f"import {library}" in (source := path.read_text()) or f"from {library}" in source
        }
        assert importers == {module}

    def test_all_public_names_exist_and_are_listed_in_order(self) -> None:
        assert all(hasattr(security, name) for name in security.__all__)
        assert security.__all__ == sorted(security.__all__)

    def test_a_fresh_process_imports_the_package_without_a_warning_and_silences_none_of_others(self) -> None:
        """In a process of its own, because pytest sets its own filters and the module is imported once."""
        lines = (
            "import gc, warnings",
            "gc.disable()",
            "before = list(warnings.filters)",
            "import app.core.security",
            "assert warnings.filters == before",
        )
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", "; ".join(lines)],
            cwd=ROOT.parent, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (run.returncode, run.stderr) == (0, "")
