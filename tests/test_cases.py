"""A test over many cases finds what a test for each would find."""

import asyncio
from contextvars import ContextVar
from typing import Any, cast

import pytest

from tests.cases import each_case

_seen: ContextVar[str] = ContextVar("_seen", default="nothing")


def failures(caught: pytest.ExceptionInfo[BaseExceptionGroup[BaseException]]) -> list[str]:
    return [failure.__notes__[0] for failure in caught.value.exceptions]


class TestEachCase:
    def test_every_case_runs_and_all_that_fail_are_named(self) -> None:
        ran = []

        @each_case(("number", "limit"), [(1, 2), (3, 2), (2, 2), (4, 2)])
        def test(number: int, limit: int) -> None:
            ran.append(number)
            assert number <= limit

        with pytest.raises(BaseExceptionGroup, match="2 of 4 cases failed: 3-2, 4-2") as caught:
            test()
        assert (ran, failures(caught)) == ([1, 3, 2, 4], ["the case: 3-2", "the case: 4-2"])

    def test_what_did_not_raise_is_a_failure(self) -> None:
        @each_case("text", ["1", "x"])
        def test(text: str) -> None:
            with pytest.raises(ValueError, match="invalid"):
                int(text)

        with pytest.raises(BaseExceptionGroup, match="1 of 2 cases failed: '1'"):
            test()

    def test_two_give_every_combination_and_fixtures_stay(self) -> None:
        ran = []

        @each_case("a", [1, 2])
        @each_case("b", "xy", ids=["first", "second"])
        def test(fixture: str, a: int, b: str) -> None:
            ran.append((fixture, a, b))
            assert (a, b) != (2, "y")

        with pytest.raises(BaseExceptionGroup, match="1 of 4 cases failed: 2-second"):
            test(fixture="given")
        assert sorted(ran) == [("given", a, b) for a in (1, 2) for b in "xy"]

    def test_a_class_has_its_tests_go_over_the_cases(self) -> None:
        @each_case("number", [1, 2], ids=lambda number: f"no {number}")
        class Tests:
            def test_small(self, number: int) -> None:
                assert number < 2

            def helper(self) -> str:
                return "as before"

        with pytest.raises(BaseExceptionGroup, match="cases failed: no 2"):
            cast("Any", Tests()).test_small()
        assert Tests().helper() == "as before"

    def test_the_names_of_pytests_own_parameters_are_kept_and_their_marks_refused(self) -> None:
        @each_case("number", [pytest.param(1, id="one")])
        def test(number: int) -> None:
            assert number == 2

        with pytest.raises(BaseExceptionGroup, match="cases failed: one"):
            test()
        with pytest.raises(ValueError, match="marks"):
            each_case("number", [pytest.param(1, marks=pytest.mark.xfail)])

    def test_no_cases_and_a_name_that_the_test_does_not_take_are_refused(self) -> None:
        with pytest.raises(ValueError, match="without cases"):
            each_case("number", [])
        with pytest.raises(TypeError, match="does not take other"):
            each_case("other", [1])(lambda number: number)

    async def test_asynchronous_cases_do_not_see_each_others_context(self) -> None:
        seen = []

        @each_case("word", ["a", "b"])
        async def test(word: str) -> None:
            seen.append(_seen.get())
            _seen.set(word)
            await asyncio.sleep(0)
            assert word == "a"

        with pytest.raises(BaseExceptionGroup, match="1 of 2 cases failed: 'b'"):
            await test()
        assert seen == ["nothing", "nothing"]


@each_case("number", [1, 2, 3])
def test_pytest_gives_it_its_fixtures(worker_number: int, number: int) -> None:
    assert worker_number + number > 0
