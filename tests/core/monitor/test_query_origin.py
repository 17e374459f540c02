from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.monitor import QueryOrigin, query_origin
from tests.cases import each_case


@each_case(
    ("statement", "origin"),
    [
        ("SELECT 1 /*policy='p',route='%2Fa%2F%7Bid%7D'*/", QueryOrigin("/a/{id}", "p")),
        ("SELECT 1 /*route='%2Fa'*/;\n", QueryOrigin("/a", "")),
        ("SELECT 1 /*action='x',request_id='y', policy='p'*/", QueryOrigin("", "p")),
        ("SELECT '/*route=''x''*/'", None),
        ("SELECT 1 /* just words */", None),
        ("SELECT 1 /*request_id='y'*/", None),
        ("/*route='%2Ffirst'*/ SELECT 1", None),
        ("SELECT 1 /*route='a',route='b'*/", QueryOrigin("a", "")),
        ("SELECT 1 /*route='%1B%5B31m%0A%E2%80%AEx'*/", QueryOrigin("\\x1b[31m\\n\\u202ex", "")),
        ("SELECT 1 /*route='%3Cscript%3E'*/", QueryOrigin("<script>", "")),
        ("SELECT 1 /*route='%ff'*/", QueryOrigin("\ufffd", "")),
        ("SELECT 1 /*route='open*/", None),
        ("", None),
    ],
)
def test_only_route_and_policy_are_read_and_made_harmless(statement: str, origin: QueryOrigin | None) -> None:
    assert query_origin(statement) == origin


@settings(max_examples=40)
@given(st.text(max_size=210))
def test_what_a_tag_says_comes_back_printable_and_short(value: str) -> None:
    origin = query_origin(f"SELECT 1 /*route='{quote(value[:200], safe='', errors='replace')}'*/")
    if origin is not None:
        assert origin.route.isprintable()
        assert 0 < len(origin.route) <= 200
    if value.isascii() and value.isprintable() and value:
        assert origin == QueryOrigin(value[:200], "")


@settings(max_examples=40)
@given(st.text(max_size=30))
def test_any_comment_can_be_read(comment: str) -> None:
    query_origin(f"SELECT 1 /*{comment}*/")


def test_a_comment_of_any_length_is_read_in_a_moment() -> None:
    assert query_origin("SELECT 1 /*" + "a='" * 100_000 + "*/") is None
    assert query_origin("/*" * 100_000) is None
    assert query_origin("SELECT 1 /*" + "a='b'," * 50 + "route='late'*/") is not None
