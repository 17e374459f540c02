"""The migrations as they lie in the folder. Read, not imported: a broken one must not keep us from saying what is wrong with it."""

import ast
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration. ``down`` are the revisions it comes after: none for the first one, several for a merge."""

    revision: str
    down: tuple[str, ...]
    message: str
    path: Path
    goes_down: bool


def read_migrations(folder: Path) -> tuple[list[Migration], list[str]]:
    """Every migration of ``folder``, by file name, and what is wrong with files that are none."""
    found, unreadable = [], []
    for path in sorted((folder / "versions").glob("*.py")):
        try:
            found.append(_read(path))
        except (SyntaxError, ValueError, KeyError) as error:
            unreadable.append(f"{path.name}: is no migration: {error}")
    return found, unreadable


def conflicts_of(migrations: Sequence[Migration]) -> list[str]:
    """Why these are no single line from the first to the last: revisions twice, orphaned ones, several heads or beginnings, circles."""
    known = Counter(migration.revision for migration in migrations)
    issues = [
        f"{revision}: {times} files have this revision" for revision, times in known.items() if times > 1
    ]
    issues += [
        f"{migration.revision}: is orphaned, there is no {down} that it comes after"
        for migration in migrations
        for down in migration.down
        if down not in known
    ]
    followed = {down for migration in migrations for down in migration.down}
    heads = sorted(known.keys() - followed)
    bases = sorted(migration.revision for migration in migrations if not migration.down)
    if len(heads) > 1:
        issues.append(f"several heads: {', '.join(heads)}; merge them or put one after the other")
    if len(bases) > 1:
        issues.append(f"several beginnings: {', '.join(bases)}")
    if lost := sorted(known.keys() - _reachable(migrations)):
        issues.append(f"not reached from a beginning: {', '.join(lost)}")
    return issues


def issues_of(migrations: Sequence[Migration]) -> list[str]:
    """What is wrong with single ones."""
    issues = []
    for migration in migrations:
        if migration.path.stem != migration.revision:
            issues.append(f"{migration.path.name}: should be named {migration.revision}.py")
        if not migration.message:
            issues.append(f"{migration.path.name}: has no docstring that says what it does")
        if not migration.goes_down:
            issues.append(f"{migration.path.name}: has no downgrade")
    return issues


def _reachable(migrations: Sequence[Migration]) -> set[str]:
    known = {migration.revision for migration in migrations}
    reached: set[str] = set()
    grown = True
    while grown:
        more = {
            migration.revision
            for migration in migrations
            # One that is orphaned is said to be so already; what comes after it is not lost for another reason.
            if all(down in reached or down not in known for down in migration.down)
        }
        grown, reached = more > reached, more
    return reached


def _read(path: Path) -> Migration:
    tree = ast.parse(path.read_text())
    values = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        else:
            continue
        if name in {"revision", "down_revision"} and node.value is not None:
            values[name] = ast.literal_eval(node.value)
    down = values["down_revision"]
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    downgrade = functions.get("downgrade")
    return Migration(
        revision=str(values["revision"]),
        down=() if down is None else (down,) if isinstance(down, str) else tuple(down),
        message=(ast.get_docstring(tree) or "").partition("\n")[0],
        path=path,
        goes_down=downgrade is not None and not all(isinstance(node, ast.Pass) for node in downgrade.body),
    )
