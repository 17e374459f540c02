from collections.abc import Sequence

import pytest

from app.core.context import RequestContext, reset_context, set_context
from app.core.monitor import RepeatedRead, RepeatedReads
from app.core.observability import DatabaseEvent, EventHub, RequestRecord
from app.core.resilience import ManualClock

LIST = "SELECT id FROM books ORDER BY id LIMIT $1 OFFSET $2"
ONE = "SELECT name FROM authors WHERE authors.id = $1"


class Site:
    """Requests without HTTP: each says what it sends, one statement after the other."""

    def __init__(self) -> None:
        self.hub, self.clock = EventHub(), ManualClock()
        self.repeats = RepeatedReads(clock=self.clock.monotonic)
        self.repeats.subscribe(self.hub)
        self.requests = 0

    def request(
        self,
        values: Sequence[object],
        statement: str = ONE,
        *,
        first: str | None = LIST,
        took_s: float = 0.02,
        at_once: bool = False,
        route: str = "/books",
    ) -> None:
        self.requests += 1
        token = set_context(RequestContext(request_id=f"r{self.requests}", route=route))
        if first is not None:
            self.hub.emit(DatabaseEvent("select", 0.001, None, first, (20, 0)))
        for value in values:
            if not at_once:
                self.clock.advance(took_s)
            self.hub.emit(DatabaseEvent("select", took_s, None, statement, value))
        reset_context(token)
        self.end(route)

    def end(self, route: str) -> None:
        record = RequestRecord(0, "GET", route, 200, 0.1, 0, f"r{self.requests}", None, None, "books", None)
        self.repeats.on_requests([record])

    @property
    def found(self) -> list[RepeatedRead]:
        return self.repeats.get_repeats()


@pytest.fixture
def site() -> Site:
    return Site()


def ids(count: int) -> list[tuple[int]]:
    return [(number,) for number in range(count)]


def test_a_loop_that_loads_row_by_row_is_found_with_its_line_and_the_way_out(site: Site) -> None:
    for count in (7, 3, 20):
        site.request(ids(count))
    (found,) = site.found
    assert (found.endpoint, found.policy) == ("GET /books", "books")
    assert (found.statement, found.is_n_plus_one) == ("SELECT name FROM authors WHERE authors.id = ?", True)
    assert (found.requests, found.times_min, found.times_median, found.times_max) == (2, 3, 7, 20)
    assert found.median_ms == pytest.approx(140)
    assert found.lines[0].startswith("tests/core/monitor/test_repeats.py:")
    assert found.lines[0].endswith(" in request")
    assert "WHERE id IN (...)" in found.fix
    assert "joinedload" in found.fix
    assert (found.finding.check, found.finding.severity) == ("n_plus_one", "warning")


def test_as_many_for_every_request_are_not_called_an_n_plus_one(site: Site) -> None:
    for _ in range(3):
        site.request(ids(6))
    (found,) = site.found
    assert (found.is_n_plus_one, found.requests, found.finding.severity) == (False, 3, "info")


def test_texts_that_differ_in_literals_only_are_one_statement(site: Site) -> None:
    for count in (5, 8):
        token = set_context(RequestContext(request_id="literal", route="/books"))
        for text in [LIST, *(f"SELECT name FROM authors WHERE id = {number}" for number in range(count))]:
            site.clock.advance(0.02)
            site.hub.emit(DatabaseEvent("select", 0.02, None, text, ()))
        reset_context(token)
        site.repeats.on_requests(
            [RequestRecord(0, "GET", "/books", 200, 0.1, 0, "literal", None, None, None, None)]
        )
    assert [(found.is_n_plus_one, found.times_max) for found in site.found] == [(True, 8)]


def test_many_fast_ones_count_and_few_fast_ones_do_not(site: Site) -> None:
    site.request(ids(19), took_s=0.0001)
    assert site.found == []
    site.request(ids(20), took_s=0.0001)
    assert [found.times_max for found in site.found] == [20]


NOT_ONE_BY_ONE = {
    "too few": {"values": ids(4)},
    "always the same": {"values": [(1,)] * 30},
    "nothing before it": {"values": ids(9), "first": None},
    "only the catalog before it": {"values": ids(9), "first": "SELECT 1 FROM pg_class"},
    "at once": {"values": ids(9), "at_once": True},
    "pages": {"values": ids(9), "statement": "SELECT a FROM t ORDER BY a LIMIT 5 OFFSET $1"},
    "keyset": {"values": ids(9), "statement": "SELECT a FROM t WHERE (a, b) > ($1, $2) ORDER BY a, b LIMIT 5"},
    "chunks": {"values": [tuple(range(n, n + 50)) for n in range(9)], "statement": "SELECT a FROM t WHERE a IN ($1)"},
    "arrays": {"values": [(list(range(n, n + 50)),) for n in range(9)], "statement": "SELECT a FROM t WHERE a = ANY($1)"},
    "catalog": {"values": ids(9), "statement": "SELECT relname FROM pg_class WHERE oid = $1"},
    "writes": {"values": ids(9), "statement": "UPDATE t SET a = 1 WHERE id = $1"},
    "no table": {"values": ids(9), "statement": "SELECT f($1)"},
    "meant to": {"values": [None] * 30},
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_ONE_BY_ONE.values(), ids=NOT_ONE_BY_ONE)
def test_what_is_no_loop_is_left_alone(site: Site, case: dict[str, object]) -> None:
    site.request(**case)  # type: ignore[arg-type]
    assert site.found == []


def test_the_last_one_of_each_is_no_page(site: Site) -> None:
    latest = "SELECT text FROM comments WHERE post_id = $1 ORDER BY id DESC LIMIT 1"
    site.request(ids(9), latest)
    (found,) = site.found
    assert "WHERE post_id IN (...)" in found.fix
    assert "joinedload" not in found.fix


def test_short_lists_and_values_without_a_hash_are_told_apart(site: Site) -> None:
    site.request([([number, number + 1],) for number in range(6)], "SELECT a FROM t WHERE a = ANY($1)")
    assert [found.times_max for found in site.found] == [6]


def test_memory_is_bounded_and_keeps_what_was_seen_last(site: Site) -> None:
    for number in range(1100):
        site.request(ids(5), route=f"/r{number}")
    assert len(site.found) == 1000
    assert {found.endpoint for found in site.found} == {f"GET /r{number}" for number in range(100, 1100)}
    for number in range(1001):
        token = set_context(RequestContext(request_id=f"open{number}"))
        site.hub.emit(DatabaseEvent("select", 0.001, None, ONE, (1,)))
        reset_context(token)
    assert len(site.repeats._open) == 1000


def test_outside_requests_nobody_looks(site: Site) -> None:
    for number in range(30):
        site.hub.emit(DatabaseEvent("select", 0.1, None, ONE, (number,)))
    assert (site.found, site.repeats._open) == ([], {})
