from dataclasses import replace

from app.core.monitor.advice._cost import CostSettings, Look, cost_of, index_pages
from tests.core.monitor.advice.facts import table

USUAL = CostSettings()


def test_the_cost_is_near_what_the_planner_says() -> None:
    # Measured on PostgreSQL 18.6 with a b-tree of one bigint: 10^6 rows on 20,000 pages, 1,000 of them found, no order on disk.
    found = cost_of(Look(0.001), table(), USUAL)
    assert 2_700 < found < 4_200


def test_more_rows_cost_more_and_order_on_disk_less() -> None:
    few, many = (cost_of(Look(share), table(), USUAL) for share in (0.0001, 0.01))
    ordered = cost_of(Look(0.01, correlation=1.0), table(), USUAL)
    assert few < ordered < many


def test_pages_in_memory_and_columns_in_the_index_spare_most_of_it() -> None:
    plain = cost_of(Look(0.01), table(), USUAL)
    assert cost_of(Look(0.01), table(), USUAL.warm) < plain / 2
    assert cost_of(Look(0.01, is_covering=True), table(), USUAL) < plain / 10


def test_a_limit_ends_a_walk_early() -> None:
    whole = Look(1.0, is_ordered=True)
    assert cost_of(replace(whole, fraction=0.0001), table(), USUAL) * 100 < cost_of(whole, table(), USUAL)


def test_the_second_look_finds_pages_of_the_first_in_memory() -> None:
    once, often = Look(0.001), Look(0.001, looks=1000.0)
    assert cost_of(often, table(), USUAL) < 1000 * cost_of(once, table(), USUAL)


def test_an_index_has_as_many_pages_as_its_entries_need() -> None:
    # A b-tree of 10^6 bigints has 2,745 pages (measured).
    assert 2_400 < index_pages(table(), 8.0) < 3_600
