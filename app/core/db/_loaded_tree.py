"""Rows with the relationships that were loaded for them, in a form that can be kept, and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.orm.collections import collection_adapter

Branches = Mapping[str, "Branches"]
Node = tuple[Any, dict[str, Any]]
"""A row, and below the name of each loaded relationship: a list of nodes, a node, or None."""


def branches(paths: Iterable[str]) -> Branches:
    """``("a.b", "a.c")`` as ``{"a": {"b": {}, "c": {}}}``."""
    tree: dict[str, Any] = {}
    for path in paths:
        below = tree
        for name in path.split("."):
            below = below.setdefault(name, {})
    return tree


def nodes_of(rows: Iterable[Any], tree: Branches) -> list[Node]:
    """Each row with what is loaded below it."""
    return [_node(row, tree) for row in rows]


def _node(row: Any, tree: Branches) -> Node:
    return row, {name: _below(getattr(row, name), further) for name, further in tree.items()}


def _below(loaded: Any, tree: Branches) -> list[Node] | Node | None:
    if loaded is None:
        return None
    adapter = getattr(loaded, "_sa_adapter", None)
    return _node(loaded, tree) if adapter is None else nodes_of(collection_adapter(loaded), tree)


def rows_of_nodes(nodes: Sequence[Node]) -> list[Any]:
    """The rows, each with its relationships as they were."""
    return [_row(node) for node in nodes]


def _row(node: Node) -> Any:
    row, relationships = node
    for name, below in relationships.items():
        set_committed_value(row, name, _value(below))
    return row


def _value(below: list[Node] | Node | None) -> Any:
    if below is None:
        return None
    return rows_of_nodes(below) if isinstance(below, list) else _row(below)
