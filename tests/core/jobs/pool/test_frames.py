from io import BytesIO

from app.core.jobs._errors import HandlerFailed
from app.core.jobs.pool._frames import NO_RESULT, REPORT, RESULT, frame, frames_in, read_frame
from app.core.jobs.worker._verdict import words_of

MESSAGES = [(REPORT, b"[0.5]"), (NO_RESULT, b""), (RESULT, b"x" * 300_000)]
SENT = b"".join(frame(kind, body) for kind, body in MESSAGES)


def test_messages_are_found_however_they_arrive() -> None:
    for size in (1, 7, 65_536, len(SENT)):
        received, found = bytearray(), []
        for first in range(0, len(SENT), size):
            if size > 1 or first < 40 or first % 50_000 == 0 or first > len(SENT) - 3:
                found += list(frames_in(received))
            received += SENT[first : first + size]
        found += list(frames_in(received))
        assert found == MESSAGES
        assert received == b""


def test_a_stream_is_read_to_its_end() -> None:
    stream = BytesIO(SENT)
    assert [read_frame(stream) for _ in range(4)] == [*MESSAGES, None]


def test_half_a_message_at_the_end_is_none() -> None:
    for length in (1, 4, 9):
        assert read_frame(BytesIO(frame(REPORT, b"[0.5]")[:length])) is None


def test_of_an_error_in_a_process_the_submitter_learns_its_kind() -> None:
    assert words_of(HandlerFailed("ZeroDivisionError")) == "It failed with ZeroDivisionError."
