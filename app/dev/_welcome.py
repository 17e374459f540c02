"""What `make run` prints when everything answers."""

from collections.abc import Mapping
from pathlib import Path

_TEXT = """
Gatehouse is running. Ctrl-C stops it and what it started.

  API            {url}
  Documentation  {url}/docs
  Pages          {url}/ui
  Metrics        {url}/metrics

  User                  Password          May
{users}

Paste these into another terminal:

  # 200: the analyst reads records
  TOKEN=$({analyst})
  curl -sS -w '\\n%{{http_code}}\\n' -H "Authorization: Bearer $TOKEN" {url}/records

  # 401: without a token
  curl -sS -w '\\n%{{http_code}}\\n' {url}/records

  # 403: the viewer has a token, but neither role nor scope
  VIEWER=$({viewer})
  curl -sS -w '\\n%{{http_code}}\\n' -H "Authorization: Bearer $VIEWER" {url}/records

  # 429: the analyst asks 200 times at once
  curl -sS -o /dev/null -w '%{{http_code}}\\n' -H "Authorization: Bearer $TOKEN" '{url}/records#[1-200]' | sort | uniq -c

The passwords are in {local}/credentials.json. For the CLI on these servers: . {local}/env && .venv/bin/python -m app doctor
"""
_RIGHTS = {"admin": "everything", "analyst": "read records", "viewer": "nothing"}


def welcome(url: str, credentials: Mapping[str, str], local: Path) -> str:
    """URLs, users and curl lines that show a 200, a 401, a 403 and a 429."""
    users = (
        f"  {email:<20}  {word:<16}  {_RIGHTS[email.partition('@')[0]]}"
        for email, word in credentials.items()
    )
    return _TEXT.format(
        url=url,
        users="\n".join(users),
        local=local.name,
        analyst=_token(url, "analyst@example.com", credentials),
        viewer=_token(url, "viewer@example.com", credentials),
    )


def _token(url: str, email: str, credentials: Mapping[str, str]) -> str:
    """A command that prints an access token, with nothing but curl and sed."""
    form = f"-d username={email} -d password={credentials[email]}"
    return f"""curl -sS {form} {url}/auth/token | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'"""
