"""What the documents say is so: their examples run, and their tables, links, paths and commands are compared with the code."""

import dataclasses
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any, get_args
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from app.cli import cli
from app.core import JobConfig, RateLimit, Security
from app.core.http import AuditError
from app.core.policies import (
    Breaker,
    Concurrency,
    Idempotency,
    ResponseCache,
    Retry,
    WebhookSignature,
    _concurrency,
    _idempotency,
    _rate_limit,
    _response_cache,
)
from app.core.security import known_roles, known_scopes
from app.main import create_app
from app.registry import Feature
from app.settings import Settings
from tests.apps import running
from tests.cases import each_case
from tests.gated import Service, bearer, serving
from tests.test_env_example import described

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "app/README.md", "app/*/README.md")
    for path in ROOT.glob(pattern)
)
ADRS = sorted(ROOT.glob("docs/adr/0*.md"))
POLICIES = sorted(ROOT.glob("docs/policies/*.md"))
AROUND = {"order", "crash-matrix"}
"""Pages beside those of single policies."""
EXAMPLES = re.compile(r"`(?:app/core/x|tests/core/x|app/features/greetings)/[^`]*`")
"""Files that a reader is told to imagine."""
each_page = each_case("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return found


def shell_lines(page: Path) -> list[str]:
    text = "\n".join(blocks(page, "sh")) + "\n" + "\n".join(re.findall(r"`([^`\n]+)`", page.read_text()))
    return [line.partition("  #")[0].strip() for line in text.splitlines()]


def table(page: Path, heading: str) -> dict[str, list[str]]:
    """The rows of the first table whose header begins so, by their first cell without backticks."""
    lines = page.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows: dict[str, list[str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        first, *rest = (cell.strip() for cell in line.strip("|").split(" | "))
        rows[first.strip("` ")] = rest
    return rows


def module(name: str, source: str) -> ModuleType:
    made = ModuleType(name)
    exec(compile(source, name, "exec"), made.__dict__)
    return made


class TestExampleOfTheReadme:
    @pytest.fixture
    async def service(self, settings: Settings, clean_store: None) -> Any:
        router, registry = blocks(ROOT / "README.md", "python")
        greetings = module("greetings", router).router
        importing, line = registry.splitlines()[1], registry.splitlines()[-1]
        path = router.splitlines()[0].removeprefix("# ").removesuffix(".py").replace("/", ".")
        assert importing == f"from {path} import router as greetings"
        feature: Feature = eval(line, {"Feature": Feature, "greetings": greetings})
        async with serving(settings, feature) as service:
            yield service

    async def test_answers_as_the_readme_says(self, service: Service) -> None:
        user = uuid4()
        client, allowed = service.client, bearer(user, scopes=["read:records"])
        greeted = await client.get("/greetings/Ada", headers=allowed)
        assert greeted.json() == {"message": "Hello, Ada!", "caller": str(user)}
        assert (await client.get("/greetings/Ada")).status_code == 401
        assert (await client.get("/greetings/Ada", headers=bearer(uuid4()))).status_code == 403
        statuses = [(await client.get("/greetings/Ada", headers=allowed)).status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 200, 429]

    async def test_is_described_with_its_policy(self, service: Service) -> None:
        operation = (await service.client.get("/openapi.json")).json()["paths"]["/greetings/{name}"]["get"]
        assert operation["x-policy"]["name"] == "greetings_get"
        assert {"200", "401", "403", "422", "429", "503", "504"} <= operation["responses"].keys()

    async def test_without_its_gate_nothing_starts(self, settings: Settings) -> None:
        source = re.sub(r", dependencies=\[.*?\]\)", ")", blocks(ROOT / "README.md", "python")[0])
        app = create_app(settings, registry=[Feature(name="greetings", router=module("g", source).router)])
        with pytest.raises(AuditError, match=r"/greetings/\{name\}.*no gate"):
            async with running(app):
                pass


class TestTour:
    async def test_its_paths_give_the_statuses_that_it_names(
        self, app: FastAPI, client: httpx2.AsyncClient, clean_store: None
    ) -> None:
        said = dict(re.findall(r"\$URL(/\S+).*?#\s+(401|403)", "\n".join(blocks(ROOT / "README.md", "sh"))))
        assert sorted(said.values()) == ["401", "403"]
        tokens = app.state.gatehouse.tokens
        token = tokens.issue(str(uuid4()), scopes=["read:records"], roles=["db_reader"]).token
        analyst = {"Authorization": f"Bearer {token}"}
        for path, status in said.items():
            if status == "401":
                assert (await client.get(path)).status_code == 401
                assert (await client.get(path, headers=analyst)).status_code == 200
            else:
                refused = await client.delete(path, headers=analyst)
                assert (refused.status_code, refused.json()["missing_scopes"]) == (403, ["write:records"])


@each_page
class TestEveryPage:
    def test_links_lead_somewhere(self, page: Path) -> None:
        links = re.findall(r"\]\(([^)#\s]+)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
        assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []

    def test_files_it_names_exist(self, page: Path) -> None:
        text = EXAMPLES.sub("", page.read_text())
        named = re.findall(r"`((?:app|tests|docs|bench|deploy|alembic|\.ci)/[\w./-]*)`", text)
        assert [name for name in named if not (ROOT / name).exists()] == []

    def test_its_make_targets_exist(self, page: Path) -> None:
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        used = {m.group(1) for line in shell_lines(page) if (m := re.match(r"make ([a-z-]+)", line))}
        assert used <= targets

    def test_its_commands_and_options_exist(self, page: Path) -> None:
        commands = [
            m.group(1) for line in shell_lines(page) if (m := re.search(r"python -m app (\w.*)$", line))
        ]
        for command in commands:
            words = shlex.split(command)
            depth = 1 if words[0] in {"serve", "doctor"} else 3 if words[:2] == ["keys", "signing"] else 2
            path = [word for word in words if re.fullmatch(r"[a-z]+(?:-[a-z]+)*", word)][:depth]
            result = CliRunner().invoke(cli, [*path, "--help"], env={"COLUMNS": "200"})
            assert result.exit_code == 0, command
            assert [word for word in words if word.startswith("--") and word not in result.output] == []

    def test_settings_it_names_exist(self, page: Path) -> None:
        names = {name for name, _, _ in described()}
        named = set(re.findall(r"`([A-Z]+__[A-Z_]+|[A-Z]+(?:_[A-Z]+)+)(?:=[^`]*)?`", page.read_text()))
        assert named - names <= {"INFO"}, "not a setting"

    def test_its_examples_run(self, page: Path) -> None:
        sources = blocks(page, "python")[: 1 if page == ROOT / "README.md" else None]
        made = [module("example", source) for source in sources]
        assert [
            list(vars(each)) for each in made if not set(vars(each)) - set(vars(ModuleType("example")))
        ] == []

    def test_lines_are_not_endless(self, page: Path) -> None:
        prose = [
            line for line in page.read_text().splitlines() if not line.startswith(("|", "curl", "TOKEN"))
        ]
        assert max(map(len, prose)) <= 160


class TestRooms:
    @each_case(
        ("page", "folder"),
        [
            ("app/README.md", "app"),
            ("app/core/README.md", "app/core"),
            ("app/builtin/README.md", "app/builtin"),
        ],
    )
    def test_every_part_of_a_room_is_named_in_its_page(self, page: str, folder: str) -> None:
        parts = [path.name for path in (ROOT / folder).iterdir() if not path.name.startswith(("_", "README"))]
        text = (ROOT / page).read_text()
        assert [part for part in parts if part not in text] == []

    def test_core_page_lists_the_names_of_the_core(self) -> None:
        import app.core

        text = (ROOT / "app/core/README.md").read_text()
        assert [name for name in app.core.__all__ if f"`{name}`" not in text] == []

    def test_rooms_of_the_readme_exist(self) -> None:
        text = (ROOT / "README.md").read_text()
        assert [
            f.parent.name
            for f in ROOT.glob("app/*/README.md")
            if f"app/{f.parent.name}/README.md" not in text
        ] == []


class TestDecisions:
    def test_numbers_are_consecutive_and_in_the_index(self) -> None:
        index = (ROOT / "docs/adr/README.md").read_text()
        assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))
        for path in ADRS:
            title = path.read_text().splitlines()[0].removeprefix(f"# {path.name[:4]}: ")
            assert f"| [{path.name[:4]}]({path.name}) | {title} |" in index

    @each_case("path", ADRS, ids=lambda path: path.stem)
    def test_each_says_what_and_why_and_what_guards_it(self, path: Path) -> None:
        text = path.read_text()
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
            "Guarded by",
        ]
        guards = text.rpartition("## Guarded by")[2]
        assert "`tests/" in guards or "pyproject.toml" in guards

    @each_case(
        ("library", "owners"),
        [
            ("jose", {"app/core/security/_signature.py"}),
            ("passlib", {"app/core/security/_passwords.py"}),
        ],
    )
    def test_only_one_module_imports_the_library(self, library: str, owners: set[str]) -> None:
        pattern = re.compile(rf"^\s*(?:from|import) {library}\b", re.MULTILINE)
        found = {
            str(path.relative_to(ROOT))
            for path in ROOT.glob("app/**/*.py")
            if pattern.search(path.read_text())
        }
        assert found == owners


class TestPolicies:
    @each_case("page", [page for page in POLICIES if page.stem not in AROUND], ids=lambda page: page.stem)
    def test_headings_are_the_fixed_ones(self, page: Path) -> None:
        headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
        assert headings == ["About", "Usage", "Defaults", "Events", "When not"]

    def test_defaults_of_a_rate_limit(self) -> None:
        rows = table(ROOT / "docs/policies/rate-limit.md", "option")
        fields = {field.name: field for field in dataclasses.fields(RateLimit)}
        assert rows.keys() == fields.keys() - {"algorithm"}
        for name, (default, *_) in rows.items():
            if fields[name].default is not dataclasses.MISSING:
                assert eval(default.strip("`")) == fields[name].default

    @each_case(("name", "kind"), [("scope", "Scope"), ("charge", "Charge"), ("on_store_down", "StoreDown")])
    def test_choices_of_a_rate_limit(self, name: str, kind: str) -> None:
        said = re.findall(r"`(\w+)`", table(ROOT / "docs/policies/rate-limit.md", "option")[name][1])
        assert set(said) == set(get_args(getattr(_rate_limit, kind)))

    def test_constructors_of_a_rate_limit(self) -> None:
        said = {row.partition("(")[0] for row in table(ROOT / "docs/policies/rate-limit.md", "constructor")}
        assert said == set(get_args(_rate_limit.Algorithm))

    @each_case("field", [field.name for field in dataclasses.fields(JobConfig)])
    def test_every_option_of_an_endpoint_has_a_page(self, field: str) -> None:
        page = ROOT / "docs/policies.md"
        *_, cell = table(page, "option")[field]
        links = re.findall(r"\[[\w -]+\]\(([\w./-]*)(?:#([\w-]+))?\)", cell)
        assert len(links) == 1, "the last cell is one link"
        path, heading = links[0]
        text = (page.parent / path).read_text() if path else page.read_text()
        if heading:
            text = text.partition(f"## {heading.capitalize()}\n")[2].partition("\n## ")[0]
        words = re.escape(field).replace("_", "[_ ]")
        assert re.search(rf"\b{words}\b", text, re.IGNORECASE), f"{field} is not explained there"

    def test_every_page_can_be_found(self) -> None:
        index = (ROOT / "docs/README.md").read_text()
        pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.mermaid"), *POLICIES]
        names = {str(page.relative_to(ROOT / "docs")) for page in pages} - {"README.md"}
        assert {name for name in names if f"({name})" not in index} == set()

    @each_case(
        ("page", "option", "kind"),
        [
            ("response-cache", "scope", _response_cache.CacheScope),
            ("concurrency", "scope", _concurrency.SlotScope),
            ("concurrency", "on_store_down", _concurrency.SlotsDown),
            ("idempotency", "durability", _idempotency.Durability),
            ("webhooks", "durability", _idempotency.Durability),
            ("idempotency", "on_expired_claim", _idempotency.ExpiredClaim),
        ],
    )
    def test_choices_of_an_option(self, page: str, option: str, kind: Any) -> None:
        _, meaning = table(ROOT / f"docs/policies/{page}.md", "option")[option]
        assert set(get_args(kind)) <= set(re.findall(r"`(\w+)`", meaning))

    def test_tests_that_the_pages_name_exist(self) -> None:
        written = "\n".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
        named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text())}
        assert {name for name in named if f"def {name}(" not in written} == set()

    @each_case(
        ("page", "kind"),
        [
            ("docs/policies/security.md", Security),
            ("docs/policies/idempotency.md", Idempotency),
            ("docs/policies/webhooks.md", WebhookSignature),
            ("docs/policies/response-cache.md", ResponseCache),
            ("docs/policies/circuit-breaker.md", Breaker),
            ("docs/policies/concurrency.md", Concurrency),
            ("docs/policies/retry.md", Retry),
            ("docs/policies.md", JobConfig),
        ],
    )
    def test_defaults_of_an_options_class(self, page: str, kind: type[Any]) -> None:
        rows = table(ROOT / page, "option")
        fields = {
            field.name: field.default for field in dataclasses.fields(kind) if not field.name.startswith("_")
        }
        assert rows.keys() == fields.keys()
        for name, (default, *_) in rows.items():
            if default.startswith("`"):
                assert eval(default.strip("`"), {"Security": Security}) == fields[name]

    def test_limits_that_come_with_a_config(self) -> None:
        own, public = JobConfig().limits[0], JobConfig.public().limits[0]
        said = (ROOT / "docs/policies/rate-limit.md").read_text()
        for limit in (own, public):
            assert (limit.window, limit.burst) == (60, 60)
            assert f"{limit.quota} a minute per" in said

    def test_defaults_of_the_settings(self) -> None:
        defaults = {name: default for name, _, default in described()}
        for name, (default, *_) in table(ROOT / "docs/policies/security.md", "setting").items():
            assert defaults[name] == default

    def test_scopes_and_roles_it_lists_are_those_that_are_known(self) -> None:
        lines = (ROOT / "docs/policies/security.md").read_text().replace("\n  ", " ").splitlines()
        for kind, known in (("scopes", known_scopes), ("roles", known_roles)):
            (line,) = (line for line in lines if line.startswith(f"- {kind} "))
            listed = set(re.findall(r"`([^`]+)`", line))
            # Other tests of this process may have registered more.
            assert listed <= known.keys()
            assert len(listed) == {"scopes": 13, "roles": 4}[kind]

    async def test_metrics_that_the_pages_name_exist(self, app: FastAPI, client: httpx2.AsyncClient) -> None:
        exposed = set(re.findall(r"^# TYPE (\S+)", (await client.get("/metrics")).text, re.MULTILINE))
        pattern = r"`((?:gatehouse|http|api|db)_[a-z_]+_(?:total|seconds|up))`"
        named = {name for page in PAGES for name in re.findall(pattern, page.read_text())}
        assert len(named) >= 9
        assert named <= exposed


class TestFlowChart:
    """``docs/flow_chart.mermaid``: no parser of Mermaid is at hand, so its form is kept plain enough for these checks."""

    STAGES = (
        "Environment loading", "Client selection", "Pooling", "Decorator stack", "Query execution", "Caching",
        "Error handling", "Metrics",
    )  # fmt: skip

    @pytest.fixture
    def chart(self) -> str:
        return (ROOT / "docs/flow_chart.mermaid").read_text()

    def test_it_is_one_chart_whose_parts_are_closed(self, chart: str) -> None:
        lines = [line.strip() for line in chart.splitlines() if line.strip() and not line.startswith("%%")]
        assert lines[0] == "flowchart TB"
        assert sum(line.startswith("flowchart") for line in lines) == 1
        assert sum(line.startswith("subgraph ") for line in lines) == lines.count("end") == 3

    def test_it_has_the_eight_stages_in_their_order(self, chart: str) -> None:
        assert re.findall(r'\["(\d) ([\w ]+)<br/>', chart) == [
            (str(i), stage) for i, stage in enumerate(self.STAGES, 1)
        ]

    def test_every_arrow_joins_nodes_that_are_drawn(self, chart: str) -> None:
        drawn = set(re.findall(r"(\w+)(?:\(\[|\[|\{)\"", chart))
        plain = re.sub(r'"[^"]*"', "", chart[chart.index("flowchart") :])
        ends = set(re.findall(r"(\w+)\S*\s*-[-.]", plain)) | set(re.findall(r"[-.]->\s*(\w+)", plain))
        assert len(drawn) > 30
        assert ends <= drawn

    def test_files_that_it_names_exist(self, chart: str) -> None:
        named = re.findall(r"\b((?:app|docs)/[\w./-]*\w)", chart)
        assert len(named) > 4
        assert [name for name in named if not (ROOT / name).exists()] == []

    def test_its_statuses_are_those_of_the_policies(self, chart: str) -> None:
        said = set(re.findall(r"\b([345]\d\d)\b", chart))
        table_of = (ROOT / "docs/policies.md").read_text()
        assert said <= set(re.findall(r"\b([345]\d\d)\b", table_of))
        assert {"401", "402", "403", "409", "422", "429", "503", "504", "304"} <= said
