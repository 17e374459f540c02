"""How pages say numbers."""

from datetime import datetime, timedelta, timezone

from app.core.http._page_words import FILTERS
from tests.cases import each_case

SAID = (
    ("size", 0, "0 B"), ("size", 999, "999 B"), ("size", 1000, "0.977 kB"), ("size", 1536, "1.5 kB"), ("size", 5 * 2**40, "5 TB"),
    ("size", 2**70, "1,048,576 PB"), ("size", -2048, "-2 kB"),
    ("count", 12345, "12,345"), ("count", 3.14159, "3.14"), ("count", 0.00012, "0.0001"), ("count", 0, "0"),
    ("percent", 97.0, "97 %"), ("percent", 97.25, "97.2 %"), ("percent", 100, "100 %"),
    ("ms", 0.0512, "0.0512 ms"), ("ms", 12.34, "12.3 ms"), ("ms", 999.6, "1,000 ms"), ("ms", 1500, "1.5 s"), ("ms", 90_000, "1 min 30 s"),
    ("seconds", 0.2, "0.2 s"), ("seconds", 60, "1 min"), ("seconds", 7500, "2 h 5 min"), ("seconds", 360_000, "4 d 4 h"),
)  # fmt: skip


@each_case(("name", "value", "words"), SAID)
def test_a_number_is_said_in_words_that_stay_on_one_line(name: str, value: float, words: str) -> None:
    assert FILTERS[name](value) == words.replace(" ", "\u00a0")


@each_case("name", FILTERS)
def test_what_is_not_known_is_a_dash(name: str) -> None:
    assert FILTERS[name](None) == "\u2013"


def test_a_moment_is_said_in_utc_and_can_be_read_by_machines() -> None:
    at = datetime(2026, 11, 22, 4, 6, 9, tzinfo=timezone(timedelta(hours=2)))
    assert FILTERS["when"](at) == '<time datetime="2026-11-22T02:06:09+00:00">2026-11-22 02:06 UTC</time>'
