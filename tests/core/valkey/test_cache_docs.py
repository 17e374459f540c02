"""The page about caching says what is so."""

import dataclasses
import re

from app.core.observability import CacheEvent
from app.core.valkey import CacheOptions
from app.core.valkey._cache_options import _RANGES
from tests.core.valkey.test_cache_eviction import POLICIES
from tests.test_docs import ROOT, table

PAGE = ROOT / "docs/caching.md"


def test_the_fixed_headings_are_there() -> None:
    headings = re.findall(r"^## (.*)$", PAGE.read_text(), re.MULTILINE)
    assert headings == ["About", "Usage", "Defaults", "Events", "Eviction", "When not"]


def test_defaults_and_ranges() -> None:
    rows = table(PAGE, "option")
    fields = {field.name: field.default for field in dataclasses.fields(CacheOptions)}
    assert rows.keys() == fields.keys()
    for name, (default, allowed, _) in rows.items():
        if name != "ttl":
            assert eval(default.strip("`")) == fields[name]
        if name in _RANGES:
            least, most = _RANGES[name]
            assert allowed == f"{least:,} to {most:,}"


def test_every_kind_of_event_is_named() -> None:
    kinds = re.findall(r"(\w+)(?: \([^)]*\))?[,.]", (CacheEvent.__doc__ or "").partition("``kind``:")[2])
    assert len(kinds) == 14
    assert [kind for kind in kinds if f"`{kind}`" not in PAGE.read_text()] == []


def test_every_eviction_policy_is_named() -> None:
    assert [policy for policy in POLICIES if f"`{policy}`" not in PAGE.read_text()] == []
