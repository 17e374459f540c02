"""Each core package exports what its ``__all__`` says, and keeps the rest to itself."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import app.core
from app.core.policies import JobConfig
from tests.cases import each_case

CORE = Path(app.core.__file__).parent
ROOMS_OF_NAMES = ("app.core", "app.core.http", "app.core.policies")
ALIASES = ("CurrentPrincipal",)
PACKAGES = sorted(
    path.relative_to(CORE.parents[1]).parent.as_posix().replace("/", ".")
    for path in CORE.glob("*/__init__.py")
)


def imports_of(file: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("app."):
            yield from ((node.module, alias.name) for alias in node.names)


def dotted(file: Path) -> str:
    return ".".join(file.relative_to(CORE.parents[1]).with_suffix("").parts)


def test_the_packages_of_the_core_were_found() -> None:
    assert {"app.core.db", "app.core.http", "app.core.policies", "app.core.valkey"} <= set(PACKAGES)


@each_case("name", ["app.core", *PACKAGES])
def test_a_package_exports_exactly_what_it_lists_in_order_and_once(name: str) -> None:
    package = import_module(name)
    listed = package.__all__
    assert [item for item in listed if not hasattr(package, item)] == []
    assert [item for item in listed if item.startswith("_")] == []
    assert len(set(listed)) == len(listed)
    assert listed == sorted(listed, key=_isort)


def _isort(name: str) -> tuple[int, str]:
    """Constants, classes, functions: the linter's order."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name


@each_case("name", PACKAGES)
def test_what_a_package_imports_for_others_is_what_it_lists(name: str) -> None:
    package = import_module(name)
    assert package.__file__ is not None
    source = Path(package.__file__)
    given = {alias.asname or alias.name for node in ast.parse(source.read_text()).body
             if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
    assert given == set(package.__all__)


@each_case("name", PACKAGES)
def test_modules_of_a_core_package_are_private(name: str) -> None:
    folder = CORE / name.rpartition(".")[2]
    assert [file.name for file in folder.glob("*.py") if not file.name.startswith("_")] == []


def test_nobody_imports_a_private_module_of_another_package() -> None:
    offenders = [
        f"{file.relative_to(CORE.parent)}: {module}"
        for file in CORE.parent.rglob("*.py")
        for module, _ in imports_of(file)
        if "._" in module and not dotted(file).startswith(module.partition("._")[0] + ".")
    ]
    assert offenders == []


def test_the_core_knows_no_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        app.core.nonsense  # noqa: B018


def test_every_option_of_a_job_config_is_among_the_cores_names() -> None:
    hints = get_type_hints(JobConfig).values()
    parts = {part for hint in hints for part in (hint, *get_args(hint))}
    parts |= {inner for part in parts for inner in get_args(part)}
    options = {part.__name__ for part in parts if getattr(part, "__module__", "").startswith("app.core.")}
    assert {"Security", "RateLimit", "Quota", "ExtraPolicy"} <= options <= set(app.core.__all__)


EXAMPLES = [
    tuple(sorted(name.name for name in node.names))
    for page in [*(CORE.parents[1] / "docs").rglob("*.md"), CORE.parents[1] / "README.md"]
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    for node in ast.walk(ast.parse(block))
    if isinstance(node, ast.ImportFrom) and node.module in ROOMS_OF_NAMES
]


def test_what_the_pages_of_policies_import_comes_from_the_core_itself() -> None:
    used = {name for names in EXAMPLES for name in names}
    assert {"JobConfig", "Credits", "require_credits", "set_cost", "get_or_set_cache"} <= used
    assert used <= set(app.core.__all__)


@each_case("name", app.core.__all__)
def test_a_name_of_the_core_is_its_rooms_own(name: str) -> None:
    room = import_module(f"app.core.{app.core._ROOMS[name]}")
    assert getattr(app.core, name) is getattr(room, name)
    assert getattr(app.core, name).__doc__ or name in ALIASES
