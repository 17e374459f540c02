"""A body that is read from its beginning once more."""

from collections.abc import Iterable

from starlette.types import Message, Receive

from app.core.http._rewound import Rewound


def receiving(*chunks: str) -> tuple[Receive, list[Message]]:
    left = [message(chunk) for chunk in chunks]

    async def receive() -> Message:
        return left.pop(0)

    return receive, left


def message(chunk: str) -> Message:
    return {"type": "http.request", "body": chunk.encode(), "more_body": True}


async def read(receive: Receive, count: int) -> Iterable[bytes]:
    return [(await receive())["body"] for _ in range(count)]


async def test_what_was_read_comes_again_and_then_the_rest() -> None:
    source, left = receiving("a", "b", "c", "d")
    first = Rewound(source)
    assert await read(first, 2) == [b"a", b"b"]
    again = first.rewind()
    assert await read(again, 4) == [b"a", b"b", b"c", b"d"]
    assert left == []


async def test_when_nothing_was_read_the_source_itself_goes_on() -> None:
    source, _ = receiving("a")
    assert Rewound(source).rewind() is source


async def test_after_a_rewind_it_only_passes_on() -> None:
    source, _ = receiving("a", "b", "c")
    first = Rewound(source)
    await first()
    first.rewind()
    assert await read(first, 2) == [b"b", b"c"]
    assert first._given is None
