"""The overrides that the documents show fit the policies of this service."""

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from app.core.http import Gate
from app.core.policies import JobConfig, Overrides
from app.registry import FEATURES

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/policies/overrides.md"


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture
def configs() -> dict[str, JobConfig]:
    """Every policy of the service as the code has it, by its name."""
    gates = [
        depends.dependency
        for feature in FEATURES
        if feature.router is not None
        for context in iter_route_contexts(feature.router.routes)
        if isinstance(route := context.original_route, APIRoute)
        for depends in route.dependencies
    ]
    return {gate.name: gate.config for gate in gates if isinstance(gate, Gate)}


def assert_fits(overrides: Overrides, configs: dict[str, JobConfig]) -> None:
    assert overrides.entries
    assert overrides.unused(configs) == []
    for name in {entry.policy for entry in overrides.entries}:
        assert overrides.apply(name, configs[name]) != configs[name]


def test_the_example_file_fits(configs: dict[str, JobConfig]) -> None:
    assert_fits(Overrides.load(ROOT / "policies.example.toml", {}), configs)


def test_the_file_of_the_page_fits(configs: dict[str, JobConfig], tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(block("toml"))
    assert_fits(Overrides.load(file, {}), configs)


def test_the_variables_of_the_page_fit(configs: dict[str, JobConfig]) -> None:
    variables = dict(line.split("=", 1) for line in block("sh").splitlines())
    assert len(variables) == 4
    assert_fits(Overrides.load(None, variables), configs)
