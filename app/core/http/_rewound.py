"""A request's body that can be read from its beginning once more."""

from starlette.types import Message, Receive


class Rewound:
    """A ``receive`` that remembers what it gave until ``rewind``; after that it only passes on."""

    __slots__ = ("_given", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._given: list[Message] | None = []

    async def __call__(self) -> Message:
        message = await self._receive()
        if self._given is not None:
            self._given.append(message)
        return message

    def rewind(self) -> Receive:
        """Remember no more; the returned ``receive`` gives what was remembered, and then what follows."""
        given, self._given = self._given or [], None
        if not given:
            return self._receive
        given.reverse()

        async def again() -> Message:
            return given.pop() if given else await self._receive()

        return again
