"""The cookies of pages, as bytes."""

from urllib.parse import urljoin, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.http import LOGIN_FORM, SESSION, PageCookies, csrf_token_of, next_page
from tests.cases import each_case

COOKIES = PageCookies(["a secret of these tests, long enough"], always_secure=False)
TEXT = st.text(st.characters(codec="latin-1"))


def scope(*cookies: str, host: str = "localhost", scheme: str = "http") -> dict[str, object]:
    lines = [(b"cookie", cookie.encode("latin-1")) for cookie in cookies]
    return {"scheme": scheme, "headers": [(b"host", host.encode()), *lines]}


def value_of(line: str) -> str:
    return line.partition(";")[0]


def test_what_was_issued_is_read_back_by_its_kind_alone() -> None:
    token = COOKIES.new()
    line = value_of(COOKIES.issue(scope(), SESSION, token))
    assert COOKIES.read(scope(line), SESSION) == token
    assert COOKIES.read(scope(f"a=b; {line};c=d"), SESSION) == token
    renamed = line.replace("gatehouse=", "gatehouse-login=")
    assert COOKIES.read(scope(renamed), LOGIN_FORM) is None
    assert COOKIES.read(scope(line, line), SESSION) is None
    assert token not in repr(COOKIES)


def test_a_cookie_of_another_service_or_of_plain_http_is_none() -> None:
    token = COOKIES.new()
    line = value_of(
        PageCookies(["another secret of these tests"], always_secure=False).issue(scope(), SESSION, token)
    )
    assert COOKIES.read(scope(line), SESSION) is None
    plain = value_of(COOKIES.issue(scope(), SESSION, token))
    strict = PageCookies(["a secret of these tests, long enough"], always_secure=True)
    assert strict.read(scope(plain), SESSION) is None
    assert strict.read(scope("__Host-" + plain), SESSION) == token
    assert strict.issue(scope(), SESSION, token).startswith("__Host-gatehouse=")
    assert "; Secure" in strict.clear(scope(), SESSION)


def test_an_older_secret_still_reads_and_the_first_one_writes() -> None:
    token = COOKIES.new()
    both = PageCookies(
        ["a new secret of these tests", "a secret of these tests, long enough"], always_secure=False
    )
    assert both.read(scope(value_of(COOKIES.issue(scope(), SESSION, token))), SESSION) == token
    assert COOKIES.read(scope(value_of(both.issue(scope(), SESSION, token))), SESSION) is None


@each_case("host", ["service.example", "localhost.example", "127.0.0.1.example", "[::2]", "", "localhost:x"])
def test_cookies_are_secure_unless_the_request_came_to_this_machine(host: str) -> None:
    assert "; Secure" in COOKIES.issue(scope(host=host), SESSION, "x")
    assert "; Secure" in COOKIES.issue({"scheme": "http", "headers": []}, SESSION, "x")
    for local in ("localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"):
        assert "Secure" not in COOKIES.issue(scope(host=local), SESSION, "x")


@settings(max_examples=40, deadline=None)
@given(TEXT)
def test_no_text_is_a_session(text: str) -> None:
    assert COOKIES.read(scope(f"gatehouse={text}"), SESSION) is None
    assert COOKIES.read(scope(text), SESSION) is None


def test_the_token_of_a_form_tells_nothing_and_fits_one_cookie() -> None:
    one, other = COOKIES.new(), COOKIES.new()
    assert csrf_token_of(one) == csrf_token_of(one) != csrf_token_of(other)
    assert one not in csrf_token_of(one)


@settings(max_examples=60, deadline=None)
@given(st.text() | st.text("/\\.:%ui?#@ejx\t\n "))
def test_the_next_page_is_a_path_of_ours_whatever_was_asked_for(wanted: str) -> None:
    for text in (wanted, "/ui" + wanted, "/ui/" + wanted):
        where = urlsplit(urljoin("https://service.example/ui/login", next_page(text)))
        assert (where.scheme, where.netloc) == ("https", "service.example")
        assert where.path == "/ui" or where.path.startswith("/ui/")
