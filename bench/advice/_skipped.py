"""Where the version decides: PostgreSQL 18 skips over the few values of a leading column, so an index that exists serves."""

from bench.advice._case import Case, either_way, partial

_TOKENS = "SELECT id, scope FROM api_tokens WHERE user_id = 25000"
_CLAIM = (
    "UPDATE jobs SET state = 'running' WHERE id IN"
    " (SELECT id FROM jobs WHERE state = 'queued' AND run_at < '2026-01-02Z' ORDER BY run_at LIMIT 5)"
)
_KIND = "covered on 18 by skipping"
CASES = (
    Case("tokens of a user", _KIND, _TOKENS, tries=("api_tokens (user_id)",), since=180000),
    Case(
        "tokens of a user",
        _KIND,
        _TOKENS,
        ("api_tokens (user_id)", "api_tokens USING hash (user_id)"),
        below=180000,
    ),
    Case(
        "claim jobs",
        _KIND,
        _CLAIM,
        tries=("jobs (state, run_at)", "jobs (run_at) WHERE state = 'queued'"),
        since=180000,
    ),
    Case(
        "claim jobs",
        _KIND,
        _CLAIM,
        (
            *either_way("jobs", ["state"], "run_at"),
            *partial("jobs", "state = 'queued'", "run_at", "run_at DESC"),
        ),
        narrow=("jobs (state)", "jobs (id) WHERE state = 'queued'"),
        below=180000,
    ),
)
