"""What a call to Valkey raises.

    Unavailable (503)
    └── StoreError           the call has no answer; unless the child says otherwise it may have run
        ├── StoreDown        no usable server: refused, lost, loading, read-only, full, wrong credentials
        ├── StoreTimeout     no answer within the budget
        ├── StoreOverloaded  never sent: too many calls are waiting already
        └── StoreReplyError  the server refuses this call: a key of another type, no permission, a faulty script

``str(error)`` is for logs and holds neither keys, values nor credentials; ``error.detail``, which callers of
the API see, says less still.
"""

import re

from app.core.errors import Unavailable

# The server is there but cannot do what was asked, for reasons that are not ours and that pass.
_OUTAGES = {
    "LOADING": "the server is loading its data",
    "TRYAGAIN": "the slot is moving",
    "CLUSTERDOWN": "the cluster is down",
    "MASTERDOWN": "the replica has lost its primary",
    "READONLY": "the server is a read-only replica",
    "OOM": "the server is out of memory",
    "MISCONF": "the server cannot save to disk and refuses writes",
    "NOREPLICAS": "the server has too few replicas for a write",
    "BUSY": "the server is busy with a long script",
    "NOAUTH": "the server wants credentials",
    "WRONGPASS": "the server refused the credentials",
}
# After these a new connection may reach a better server; they count as failures of this one. OOM does not:
# reads go on working.
UNWELL = frozenset({"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "NOAUTH", "WRONGPASS"})
_CODE = re.compile(r"[A-Z][A-Z_]{1,31}\b")
_LINE = re.compile(r"\buser_script:(\d+)")
# Lua's own complaints name variables of the script and types, never values.
_LUA = re.compile(
    r"user_script:\d+: ((?:attempt to|bad argument|Script attempted to access nonexistent) [\w #?'(),]+?)(?= script:|$)"
)


class StoreError(Unavailable):
    """Valkey gave no answer.

    Catch this one class to enter a degraded mode; ``reason`` is the technical cause.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("A service that this needs is not available", retry_after=1)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class StoreDown(StoreError):
    """No usable server. A call that was already sent may or may not have run."""


class StoreTimeout(StoreError):
    """No answer within the call's budget; the server may still run it."""

    def __init__(self, reason: str = "Valkey did not answer in time") -> None:
        super().__init__(reason)


class StoreOverloaded(StoreError):
    """Refused before sending, because too many calls wait for answers. Certain not to have run."""

    def __init__(self, reason: str = "too many calls wait for Valkey") -> None:
        super().__init__(reason)


class StoreReplyError(StoreError):
    """Valkey answered with an error that is none of its passing states.

    ``code`` is its first word, such as WRONGTYPE; the rest is left out, for it may hold keys or values. Somebody
    else writes under our keys, an operator has taken a permission away, or a script is wrong: callers can mend none
    of these, so what they get is what they get in an outage. It is logged as an error and counted by its code, and
    never sent again, for the next answer would be the same.
    """

    def __init__(self, reason: str, *, code: str = "ERR") -> None:
        super().__init__(reason)
        self.code = code


def error_code(text: str) -> str:
    """The first word of an error reply when it is a code in capitals, otherwise ERR."""
    match = _CODE.match(text)
    return match.group() if match else "ERR"


def to_error(text: str, script: str | None = None) -> StoreDown | StoreReplyError:
    """Our error for an error reply's ``text``; ``script`` is the name of the script that was called, if one
    was.
    """
    code = error_code(text)
    if code in _OUTAGES:
        return StoreDown(f"{_OUTAGES[code]} ({code})")
    reason = f"Valkey answered {code}"
    if script is not None:
        reason += f" to {script}"
    if line := _LINE.search(text):
        reason += f" at line {line.group(1)}"
    if complaint := _LUA.search(text):
        reason += f": {complaint.group(1)}"
    return StoreReplyError(reason, code=code)
