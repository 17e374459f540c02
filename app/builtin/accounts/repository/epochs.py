"""What the database knows of tokens that ended before their time."""

from datetime import datetime
from uuid import UUID

from app.core.db import Database

_EPOCH = """
SELECT CAST(coalesce(round(extract(epoch FROM u.tokens_since) * 1000), 0) AS bigint),
    ARRAY(SELECT CAST(s.id AS text) FROM auth_sessions s
        WHERE s.user_id = u.id AND s.ended_at IS NOT NULL AND s.used_at > $2
        UNION ALL SELECT CAST(s.id AS text) FROM api_keys k JOIN api_key_secrets s ON s.key_id = k.id
        WHERE k.user_id = u.id AND s.ended_at > $3)
FROM users u WHERE u.id = $1
UNION ALL
SELECT 9007199254740991, CAST('{}' AS text[]) FROM deleted_users d
    WHERE d.id = $1 AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = $1)
"""


async def read_epoch(
    database: Database, user_id: UUID, used_after: datetime, ended_after: datetime
) -> tuple[int, tuple[str, ...]] | None:
    """``tokens_since`` in ms (0: never set); the ended sessions that were last used after ``used_after``, and the secrets of API keys that
    ended after ``ended_after``. None for an unknown user.

    For a user who was deleted it is the end of time (2**53 - 1 ms): no token of his counts, whatever the clock was that it was issued by.

    Raises a DatabaseError (503).
    """
    rows = await database.fetch(_EPOCH, user_id, used_after, ended_after)
    return (int(rows[0][0]), tuple(rows[0][1])) if rows else None
