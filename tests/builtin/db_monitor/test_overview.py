"""The overview for programs, on the whole service."""

import pytest

from tests.sites import Site


@pytest.mark.usefixtures("clean_store")
class TestPerformance:
    async def test_every_page_is_a_check_and_the_worst_finding_comes_first(self, site: Site) -> None:
        answer = await site.client.get("/db-monitor/performance", headers=site.bearer(["read:monitor"]))
        assert answer.status_code == 200, answer.text
        body = answer.json()
        states = {check["title"]: check["state"] for check in body["checks"]}
        # What would take seconds is only told when somebody has just asked for it.
        assert [title for title, state in states.items() if state == "unknown"] == ["Missing indexes"]
        assert {
            "Statements",
            "Indexes",
            "Tables",
            "Connections",
            "Locks",
            "Cache",
            "Settings",
        } <= states.keys()
        ranks = [["critical", "warning", "info"].index(finding["severity"]) for finding in body["findings"]]
        assert ranks == sorted(ranks)
        assert all(each["evidence"] and each["fix"] for each in body["findings"])
        assert all(isinstance(each["queryid"], str) for each in body["costly"])
        assert body["server"]["database"]
