"""What policies do for operators: tell what is in force, and hold what was set by hand."""

from app.builtin.policies.service.routes import describe_routes, routes_as_they_are, switch_shown
from app.builtin.policies.service.switches import (
    SWITCH,
    NoSuchBreaker,
    NoSuchPolicy,
    SwitchBoard,
    provide_policies,
    read_board,
    set_by_hand,
)
from app.builtin.policies.service.words import Group, grouped, in_words

__all__ = [
    "SWITCH",
    "Group",
    "NoSuchBreaker",
    "NoSuchPolicy",
    "SwitchBoard",
    "describe_routes",
    "grouped",
    "in_words",
    "provide_policies",
    "read_board",
    "routes_as_they_are",
    "set_by_hand",
    "switch_shown",
]
