"""Advice as findings, for pages that show many kinds of them."""

from typing import Any

from app.core.monitor._panel import Finding
from app.core.monitor._plan import Plan
from app.core.monitor._server import ServerFacts
from app.core.monitor._statement_report import Advisor
from app.core.monitor.advice._advise import advise_over
from app.core.monitor.advice._suggestions import Advice, Suggestion

_MUCH = 10.0


def findings_of(advice: Advice) -> tuple[Finding, ...]:
    """Suggested indexes, then rewrites."""
    rewrites = (
        Finding(
            check="advice.rewrite",
            severity="info",
            subject=it.table,
            title=f"{it.condition} is served by no index as it is written",
            evidence=it.reason,
            fix=f"Write {it.instead}" if it.instead else "Ask in another way",
        )
        for it in advice.rewrites
    )
    return (*map(_finding, advice.suggestions), *rewrites)


def _finding(it: Suggestion) -> Finding:
    words = ", ".join(it.columns).replace('"', "")
    how = (
        "asked of the planner (hypopg)"
        if it.verified == "hypopg"
        else "not verified: computed from statistics"
    )
    extension = f", after CREATE EXTENSION {it.needs_extension}" if it.needs_extension else ""
    return Finding(
        check="advice.index",
        severity="warning" if it.gain >= _MUCH else "info",
        subject=it.facts.title,
        title=f"An index on {words} would make this {it.gain:,.1f} times cheaper in the planner's unit",
        evidence=f"{it.reason} ({how})",
        fix=f"Create it when there are few writes{extension}",
        ddl=it.ddl,
    )


def advisor_with(facts: ServerFacts) -> Advisor:
    """For ``report_on``: the advice on the statement of a report, as findings."""

    async def advisor(connection: Any, sql: str, _plan: Plan) -> tuple[Finding, ...]:
        return findings_of(await advise_over(connection, sql, facts))

    return advisor
