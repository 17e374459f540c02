"""The crash matrix names the tests that show it: they exist."""

import re

from tests.nursery import CHECKOUT


def test_every_test_that_the_crash_matrix_names_is_there() -> None:
    page = (CHECKOUT / "docs" / "policies" / "crash-matrix.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", page))
    sources = (file.read_text() for file in (CHECKOUT / "tests").rglob("test_*.py"))
    defined = {name for source in sources for name in re.findall(r"def (test_\w+)\(", source)}
    assert len(named) > 20
    assert named - defined == set()
