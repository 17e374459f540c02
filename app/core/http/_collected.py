"""An answer that is caught on its way out, because it is not yet clear who gets it."""

from starlette.types import Message, Send


class Collected:
    """Takes what an application sends and gives it on later, or never."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    async def take(self, message: Message) -> None:
        """The application's ``send``."""
        self._messages.append(message)

    @property
    def is_good(self) -> bool:
        """Whether there is an answer, and it is not a failure of ours."""
        start = next((m for m in self._messages if m["type"] == "http.response.start"), None)
        return start is not None and start["status"] < 500

    async def give(self, send: Send) -> None:
        """Send it."""
        for message in self._messages:
            await send(message)
