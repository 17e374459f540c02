import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.features.records.schemas import (
    MAX_PAYLOAD_BYTES,
    MAX_PAYLOAD_DEPTH,
    Position,
    RecordCreate,
    RecordQuery,
    RecordUpdate,
)
from tests.cases import each_case


def nested(depth: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth - 1):
        value = {"a": value}
    return {"a": value} if depth == 1 else value


def filled(size: int) -> dict[str, str]:
    """A payload of exactly ``size`` bytes of JSON."""
    return {"a": "x" * (size - len('{"a":""}'))}


class TestCreate:
    def test_name_is_trimmed_and_the_rest_may_be_left_out(self) -> None:
        record = RecordCreate.model_validate({"name": "  first "})
        assert (record.name, record.tags, record.payload) == ("first", [], {})

    def test_repeated_tags_are_kept_once_in_order(self) -> None:
        assert RecordCreate(name="x", tags=["b", "a", "b ", "a"]).tags == ["b", "a"]

    @each_case(
        "body",
        [
            {},
            {"name": ""},
            {"name": "   "},
            {"name": "x" * 201},
            {"name": "a\0b"},
            {"name": "\ud800"},
            {"name": None},
            {"name": 1},
            {"name": "x", "unknown": 1},
            {"name": "x", "owner_id": str(uuid4())},
            {"name": "x", "tags": "a"},
            {"name": "x", "tags": [""]},
            {"name": "x", "tags": ["y" * 51]},
            {"name": "x", "tags": ["a\0"]},
            {"name": "x", "tags": [1]},
            {"name": "x", "tags": [str(n) for n in range(21)]},
            {"name": "x", "tags": None},
            {"name": "x", "payload": []},
            {"name": "x", "payload": None},
            {"name": "x", "payload": {"a": "\0"}},
            {"name": "x", "payload": {"\0": 1}},
            {"name": "x", "payload": {"a": ["\ud800"]}},
            {"name": "x", "payload": {"\udfff": 1}},
            {"name": "x", "payload": {"a": float("nan")}},
            {"name": "x", "payload": {"a": [float("inf")]}},
            {"name": "x", "payload": {"a": 2**63}},
            {"name": "x", "payload": {"a": 10**400}},
            {"name": "x", "payload": nested(MAX_PAYLOAD_DEPTH + 1)},
            {"name": "x", "payload": nested(100_000)},
            {"name": "x", "payload": filled(MAX_PAYLOAD_BYTES + 1)},
        ],
    )
    def test_what_cannot_be_stored_is_refused(self, body: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            RecordCreate.model_validate(body)

    @each_case(
        "payload",
        [
            {},
            {"a": [1, -1.5, None, True, "ü", {"b": []}]},
            {"a": 2**63 - 1, "b": -(2**63) + 1},
            nested(MAX_PAYLOAD_DEPTH - 1),
            filled(MAX_PAYLOAD_BYTES),
        ],
        ids=["empty", "mixed", "largest", "deepest", "longest"],
    )
    def test_what_can_be_stored_is_taken_unchanged(self, payload: dict[str, Any]) -> None:
        assert RecordCreate(name="x", payload=payload).payload == payload

    def test_size_is_counted_in_bytes_not_characters(self) -> None:
        payload = {"a": "ü" * (MAX_PAYLOAD_BYTES // 2)}
        assert len(json.dumps(payload, ensure_ascii=False)) < MAX_PAYLOAD_BYTES
        with pytest.raises(ValidationError, match="bytes"):
            RecordCreate(name="x", payload=payload)


class TestUpdate:
    def test_only_what_was_sent_is_changed(self) -> None:
        assert RecordUpdate.model_validate({}).changes() == {}
        assert RecordUpdate.model_validate({"tags": []}).changes() == {"tags": []}
        assert RecordUpdate.model_validate({"name": " b "}).changes() == {"name": "b"}

    @each_case("field", ["name", "tags", "payload"])
    def test_null_is_refused(self, field: str) -> None:
        with pytest.raises(ValidationError):
            RecordUpdate.model_validate({field: None})

    def test_limits_are_those_of_a_new_record(self) -> None:
        for body in ({"name": ""}, {"payload": nested(100)}, {"version": 2}):
            with pytest.raises(ValidationError):
                RecordUpdate.model_validate(body)


class TestPosition:
    @given(
        st.datetimes(timezones=st.just(UTC), min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)),  # noqa: DTZ001
        st.uuids(),
    )
    def test_survives_the_way_to_the_caller_and_back(self, at: datetime, identity: UUID) -> None:
        text = Position(at, identity).encode()
        assert Position.decode(text) == (at, identity)
        assert len(text) == 32
        assert text.replace("-", "").replace("_", "").isalnum()

    def test_zone_does_not_matter(self) -> None:
        identity, at = uuid4(), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5)))
        assert Position.decode(Position(at, identity).encode()).created_at == at

    @given(st.text(max_size=40))  # a valid one of 24 bytes is not met by chance
    def test_any_other_text_is_refused_and_nothing_else_is_raised(self, text: str) -> None:
        with pytest.raises(ValueError, match="is not a cursor of this list"):
            Position.decode(text)

    @each_case("text", ["", "x", "A" * 31, "A" * 33, "f" * 32, "A" * 32 + "=", "!" + "A" * 32, "é" * 32])
    def test_near_misses_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="not a cursor"):
            Position.decode(text)


class TestQuery:
    def test_defaults(self) -> None:
        query = RecordQuery.model_validate({})
        assert (query.limit, query.after, query.tag) == (50, None, None)

    @each_case(
        ("values", "field"),
        [
            ({"limit": "0"}, "limit"),
            ({"limit": "101"}, "limit"),
            ({"limit": "x"}, "limit"),
            ({"cursor": "x"}, "cursor"),
            ({"tag": ""}, "tag"),
            ({"tag": "a\0"}, "tag"),
            ({"offset": "1"}, "offset"),
        ],
    )
    def test_errors_name_the_parameter(self, values: dict[str, str], field: str) -> None:
        with pytest.raises(ValidationError) as caught:
            RecordQuery.model_validate(values)
        assert [error["loc"][0] for error in caught.value.errors()] == [field]
