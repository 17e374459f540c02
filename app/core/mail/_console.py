"""Mails for developers."""

import sys
from typing import TextIO

from app.core.mail._mail import Mail


class ConsoleMailer:
    """Writes mails to standard output, or to ``stream``, with their links, so that a developer can follow them.

    Not for production, where output is collected and the links would stand in it. It does not use the log, which hides them.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    async def send(self, mail: Mail) -> None:
        """Write it whole. Raises nothing: without an output there is nobody to read it."""
        stream = self._stream or sys.stdout
        if stream is not None:
            stream.write(f"----- mail to {mail.to}: {mail.subject}\n{mail.text.rstrip()}\n-----\n")
            stream.flush()
