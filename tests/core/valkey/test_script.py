import hashlib

import pytest

from app.core.valkey import Script


def test_sha_is_that_of_the_source() -> None:
    script = Script("one", "return 1")
    assert script.sha == hashlib.sha1(b"return 1").hexdigest()
    assert repr(script) == f"<Script one {script.sha[:8]}>"


def test_scripts_with_the_same_source_are_equal() -> None:
    assert Script("one", "return 1") == Script("uno", "return 1")
    assert len({Script("one", "return 1"), Script("uno", "return 1"), Script("two", "return 2")}) == 2


def test_missing_file_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        Script.load("app.core.valkey", "missing.lua")


def test_load_reads_a_packages_file() -> None:
    script = Script.load("app.core.valkey", "_script.py")
    assert script.source.startswith('"""A Lua script')
