"""Which conditions of a table an index could serve."""

from dataclasses import replace

import pytest

from app.core.monitor.advice._classes import Classes
from app.core.monitor.advice._reading import read
from app.core.monitor.advice._tables import TableFacts
from app.core.monitor.advice._ways import Ways, names_partition
from tests.core.monitor.advice.facts import column, table


def typed(kind: str) -> TableFacts:
    return table(columns=(replace(column("a"), type=kind),))


def serving(facts: TableFacts, text: str) -> str | None:
    found = Ways("o", facts, Classes(has_trigrams=True)).of(read(text))
    return None if found is None else found.keys[0].operator_class


class TestPatterns:
    @pytest.mark.parametrize("text", ["(o.a ~~ 'abc%'::{})", "(o.a ~~ '%abc%'::{})", "(o.a ~~* 'abc%'::{})"])
    def test_only_on_types_whose_like_an_index_serves(self, text: str) -> None:
        assert serving(typed("text"), text.format("text")) is not None
        assert serving(typed("citext"), text.format("citext")) is None

    def test_starts_with_is_a_prefix_if_its_value_is_known(self) -> None:
        assert serving(typed("text"), "starts_with(o.a, 'abc'::text)") == "text_pattern_ops"
        assert serving(typed("text"), "starts_with(o.a, $1)") is None


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("(o.a = 'eu'::text)", True),
        ("((o.a)::text = $1)", True),
        ("(o.b = 1)", False),
        ("(o.a > 'eu'::text)", False),
        ("(o.a = o.b)", False),
    ],
)
def test_a_condition_that_names_the_partition_is_no_key(text: str, is_named: bool) -> None:
    assert names_partition(replace(table(), listed="a"), read(text)) is is_named
    assert not names_partition(table(), read(text))
