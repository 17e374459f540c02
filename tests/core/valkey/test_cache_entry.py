import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.valkey import CacheOptions, Entry, Freshness, freshness, is_due
from app.core.valkey._cache_entry import parse_valid, versions_of
from app.core.valkey._keys import joined, tag_key
from tests.cases import each_case

ENTRY = Entry(1_000, 2_000, 3_000, 100, "7,8", b"line\nline\x00\xff")


class TestParse:
    def test_reads_what_is_stored_and_leaves_the_payload_alone(self) -> None:
        assert Entry.parse(b"1000 2000 3000 100 7,8\nline\nline\x00\xff") == ENTRY

    @each_case(
        "stored",
        [b"", b"\n", b"1 2 3 4\nx", b"1 2 3 4 5 6\nx", b"a 2 3 4 -\nx", b"1 2 3 4 -", b"\xff 2 3 4 -\nx"],
    )
    def test_anything_else_is_refused_and_counts_as_missing(self, stored: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - of several libraries
            Entry.parse(stored)
        assert parse_valid(stored, "-") is None

    def test_other_versions_make_it_invalid(self) -> None:
        stored = b"1 2 3 4 7,8\nx"
        assert parse_valid(stored, "7,8") is not None
        assert [parse_valid(stored, other) for other in ("-", "7", "8,7", "7,9")] == [None] * 4

    def test_versions_are_joined_in_the_order_of_the_tags(self) -> None:
        assert versions_of([b"2", b"1"]) == "2,1"
        assert versions_of([]) == "-"


class TestFreshness:
    @each_case(
        ("now", "state"),
        [
            (1_999, Freshness.FRESH),
            (2_000, Freshness.STALE),
            (2_999, Freshness.STALE),
            (3_000, Freshness.GONE),
        ],
    )
    def test_ends_are_exclusive(self, now: int, state: Freshness) -> None:
        assert freshness(ENTRY, now) is state


class TestXFetch:
    def test_the_share_of_early_refreshes_is_that_of_the_paper(self) -> None:
        """P(due) = exp(-(left) / (delta * beta)): 100 ms before the end, with delta 100 ms, one in e."""
        rng = random.Random(7).random
        for left, share in ((100, 0.3679), (300, 0.0498), (25, 0.7788)):
            due = sum(is_due(ENTRY, ENTRY.fresh - left, rng) for _ in range(20_000)) / 20_000
            assert due == pytest.approx(share, abs=0.012)

    def test_beta_makes_it_earlier(self) -> None:
        rng = random.Random(7).random
        due = sum(is_due(ENTRY, ENTRY.fresh - 100, rng, beta=2.0) for _ in range(20_000)) / 20_000
        assert due == pytest.approx(0.6065, abs=0.012)

    @given(st.floats(0, 1, exclude_max=True), st.integers(0, 10**13))
    def test_never_fails_and_is_certain_after_the_end(self, number: float, now: int) -> None:
        assert is_due(ENTRY, now, lambda: number) or now < ENTRY.fresh

    def test_what_costs_nothing_is_never_made_early(self) -> None:
        assert not is_due(ENTRY._replace(delta=0), ENTRY.fresh - 1, lambda: 1 - 2**-53)


class TestKeys:
    def test_parts_cannot_run_into_each_other(self) -> None:
        names: list[str | tuple[str | int, ...]] = [
            ("a:b", "c"),
            ("a", "b:c"),
            ("a:b:c",),
            "a:b:c",
            ("a:b|c",),
            ("a", "b", "c"),
            "a:b|c",
            ("a|b", "c"),
            ("a:b", "c", ""),
        ]
        # A single part and the same text are one name, by design.
        assert len({joined(name) for name in names}) == len(names) - 2
        assert joined(("a:b|c",)) == joined("a:b|c")
        assert joined(("a:b:c",)) == joined("a:b:c")

    @given(st.text())
    def test_no_text_brings_braces_or_bars_of_its_own(self, text: str) -> None:
        assert not set("{}| \n") & set(joined(text))
        assert tag_key(text).count("{") == tag_key(text).count("}") == 1


class TestOptions:
    @each_case(
        "wrong",
        [
            {"ttl": 0}, {"ttl": 86_401}, {"stale": -1}, {"stale": 604_801}, {"hard_timeout": 0}, {"soft_timeout": 61},
            {"jitter": 0.6}, {"max_bytes": -1}, {"lease": 0}, {"negative_ttl": -1}, {"fail_safe": 3_601}, {"ttl": float("nan")},
            {"ttl": True}, {"name": ""}, {"name": "User 7"},
        ],
    )  # fmt: skip
    def test_out_of_range_is_refused_by_name(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=rf"CacheOptions\.{next(iter(wrong))} must be"):
            CacheOptions(**{"ttl": 1, **wrong})  # type: ignore[arg-type]

    def test_a_lease_is_twice_the_hard_timeout_unless_given(self) -> None:
        assert CacheOptions(ttl=1, hard_timeout=2).lease_ms == 4_000
        assert CacheOptions(ttl=1, lease=0.0001 * 15).lease_ms == 2
