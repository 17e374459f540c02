"""Fields are named so that it is clear what is meant, and no override takes any of them back."""

from typing import Any

import pytest

from app.core.errors import ConfigurationError
from app.core.policies import Encryption, JobConfig
from app.core.policies._overrides import Overrides
from tests.cases import each_case

FIELDS = JobConfig(encryption=Encryption(response=("ssn",)))


@each_case(
    ("options", "says"),
    [
        ({}, "names no field"),
        ({"response": "ssn"}, "must be a tuple"),
        ({"response": ("",)}, "must be a tuple"),
        ({"response": ("a..b",)}, "must be a tuple"),
        ({"request": ("a.",)}, "must be a tuple"),
        ({"request": (7,)}, "must be a tuple"),
        ({"request": ("a", "a")}, "a is named twice"),
        ({"response": ("a.b", "a")}, "a is named twice, or holds"),
    ],
)
def test_what_names_no_field_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Encryption(**options)


def test_names_that_only_begin_alike_are_two() -> None:
    assert Encryption(response=("a", "ab.c")).response == ("a", "ab.c")


@each_case("value", [None, "yes", 1])
def test_a_config_takes_only_what_it_says(value: Any) -> None:
    with pytest.raises(ValueError, match="must be True, False or"):
        JobConfig(encryption=value)


@each_case(
    ("variable", "value", "says"),
    [
        ("ENCRYPTION", "false", "cannot be switched off"),
        ("ENCRYPTION", "true", "can be changed in code only"),
        ("ENCRYPTION__RESPONSE", "name", "leads too deep"),
        ("ENCRYPTION", "perhaps", "must be true or false"),
    ],
)
def test_no_override_takes_them_back(variable: str, value: str, says: str) -> None:
    overrides = Overrides.load(None, {f"POLICIES__GET__{variable}": value})
    with pytest.raises(ConfigurationError, match=says):
        overrides.apply("get", FIELDS)


def test_sealing_can_still_be_switched_on() -> None:
    overrides = Overrides.load(None, {"POLICIES__GET__ENCRYPTION": "true"})
    assert overrides.apply("get", JobConfig()).encryption is True
