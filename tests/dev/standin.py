"""A small server in place of the API or the worker, so that tests of the runner start in no time: answers 200 to everything.

It imports as little as it can: the runner's tests start dozens of them.
"""

import signal
import socket
import sys
from types import FrameType


def leave(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, leave)
    with socket.socket(fileno=int(sys.argv[sys.argv.index("--fd") + 1])) as listener:
        while True:
            asking, _ = listener.accept()
            with asking:
                while not (request := asking.recv(65_536)).endswith(b"\r\n\r\n") and request:
                    pass
                asking.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
