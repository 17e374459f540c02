"""Alert rules and the dashboard of ``docs/monitoring``: that they ask for what there is, and that each rule has a test."""

import json
import re
import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import httpx2
import pytest
import yaml

from tests.containers import ROOT, services

HERE = ROOT / "docs/monitoring"
FOREIGN = {"up"}
"""Metrics of Prometheus itself."""
_METRIC = re.compile(r"\b(up|(?:gatehouse|http|db|api)_[a-z_]+)(?=[\[{)\s])")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((HERE / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((HERE / "dashboard.json").read_text())["panels"]
    return found


def asked(expressions: list[str]) -> set[str]:
    names = {name for text in expressions for name in _METRIC.findall(text)}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


async def test_only_metrics_that_there_are_are_asked_for(client: httpx2.AsyncClient) -> None:
    exposition = (await client.get("/metrics")).text
    exposed = set(re.findall(r"^# TYPE (\S+)", exposition, re.MULTILINE))
    in_rules = asked([rule["expr"] for rule in rules()])
    in_panels = asked([target["expr"] for panel in panels() for target in panel["targets"]])
    assert len(in_rules) >= 12
    assert len(in_panels) >= 12
    assert (in_rules | in_panels) - FOREIGN <= exposed
    # A rule that names a metric in a way that the pattern does not see would pass unread.
    assert [rule["alert"] for rule in rules() if not asked([rule["expr"]])] == []
    assert [
        panel["title"] for panel in panels() for target in panel["targets"] if not asked([target["expr"]])
    ] == []


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules())
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_has_a_test_in_which_it_fires_and_is_in_the_table() -> None:
    tests = yaml.safe_load((HERE / "alerts_test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    names = {rule["alert"] for rule in rules()}
    assert fired == names
    assert (
        set(
            re.findall(
                r"`((?:Database|Service|Requests|Store|Policies|Breaker|Jobs|Job)[A-Za-z]+)`",
                (HERE / "README.md").read_text(),
            )
        )
        == names
    )


@pytest.mark.parametrize(
    ("alert", "threshold"),
    [
        ("DatabasePoolNearlyFull", r">= 80$"),
        ("DatabaseStatementsSlow", r"> 0\.2$"),
        ("DatabaseDeadlocks", r"\[1d\]\)\) > 0$"),
    ],
)
def test_thresholds_are_those_of_the_documents(alert: str, threshold: str) -> None:
    (expression,) = [rule["expr"].strip() for rule in rules() if rule["alert"] == alert]
    assert re.search(threshold, expression)


def test_prometheus_loads_the_rules() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
    (loaded,) = config["rule_files"]
    assert f"./docs/monitoring/alerts.yml:{loaded}:ro" in services()["prometheus"]["volumes"]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["gatehouse"]


def test_the_dashboard_asks_for_its_data_source_and_shows_each_panel_in_a_place_of_its_own() -> None:
    dashboard = json.loads((HERE / "dashboard.json").read_text())
    kinds = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert kinds["datasource"] == "datasource"
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()}
    assert len(places) == len({panel["id"] for panel in panels()}) == len(panels())


def test_without_promtool_the_check_fails_and_says_where_to_get_it(tmp_path: Path) -> None:
    make = which("make")
    assert make is not None
    for tool in ("sh", "env"):
        (tmp_path / tool).symlink_to(which(tool) or "")
    ran = subprocess.run(
        [make, "monitoring-check"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "apt-get install prometheus" in ran.stderr
