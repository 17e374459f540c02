"""A Lua script and its fingerprint."""

import hashlib
from importlib import resources
from typing import Self, final


@final
class Script:
    """Lua source under a name; ``sha`` is the SHA-1 by which Valkey caches it.

    Make each script once, when its module is imported: the fingerprint is computed then. Two scripts are
    equal when their sources are.
    """

    __slots__ = ("encoded", "name", "sha", "source")

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.encoded = source.encode()
        self.sha = hashlib.sha1(self.encoded, usedforsecurity=False).hexdigest()

    @classmethod
    def load(cls, package: str, filename: str) -> Self:
        """Read ``filename`` from an importable package, for example ``Script.load("app.core.policies.lua",
        "admit.lua")``.

        Raises ``FileNotFoundError`` or ``ModuleNotFoundError`` when there is no such file.
        """
        source = resources.files(package).joinpath(filename).read_text(encoding="utf-8")
        return cls(filename.removesuffix(".lua"), source)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Script) and self.sha == other.sha

    def __hash__(self) -> int:
        return hash(self.sha)

    def __repr__(self) -> str:
        return f"<Script {self.name} {self.sha[:8]}>"
