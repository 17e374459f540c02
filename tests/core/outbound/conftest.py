from collections.abc import AsyncIterator

import pytest

from tests.upstream import Upstream, serving_upstream


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serving_upstream() as upstream:
        yield upstream
