"""Several repositories, one transaction, and a name for the step that failed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

from app.core.db._errors import translate_errors
from app.core.db._finish import finish, uninterrupted
from app.core.db._repository import AsyncBaseRepository
from app.core.errors import ConfigurationError

_ACTIVE = "gatehouse_unit_of_work"
T = TypeVar("T")
AnyRepository = AsyncBaseRepository[Any]


class UnitOfWork:
    """``async with UnitOfWork(session) as uow``: what the block did is committed at its end, or none of it.

    The whole transaction of the session ends with the block, also what was done in it before. Inside another unit of work on the same
    session it is a savepoint of that one. On an endpoint with ``durability="db"`` the commit is the route's: use ``uow.savepoint()`` there.
    Raises our database errors; after CommitOutcomeUnknown at the end it is unknown whether the commit was done, so nothing is tried again.
    One use each.
    """

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._repositories: dict[str, AnyRepository] = {}
        self._nested: AsyncSessionTransaction | None = None
        self._is_entered = False
        self.results: dict[str, Any] = {}
        """What the steps returned, by name, in their order."""
        self.failed_step: str | None = None
        """The step that failed; the unit of work is then rolled back, whoever caught the error."""

    @property
    def session(self) -> AsyncSession:
        """The session that all repositories share."""
        return self._session

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise ConfigurationError("A unit of work is used once; make one for each block")
        self._is_entered = True
        if self._session.info.get(_ACTIVE):
            self._nested = await self._session.begin_nested()
        else:
            self._session.info[_ACTIVE] = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self.failed_step is None:
                await self._keep()
            else:
                await self._undo()
        finally:
            if self._nested is None:
                self._session.info.pop(_ACTIVE, None)

    def register_repository(self, name: str, repository: AnyRepository) -> None:
        """Make a repository known by name; it must use this unit's session, or it would not be part of the transaction.

        Raises ConfigurationError for another session, or a name that is taken.
        """
        if repository.session is not self._session:
            raise ConfigurationError(f"The repository {name!r} uses another session than its unit of work")
        if name in self._repositories:
            raise ConfigurationError(f"The unit of work has a repository {name!r} already")
        self._repositories[name] = repository

    def repository(self, name: str) -> AnyRepository:
        """The repository of this name. Raises ConfigurationError when there is none."""
        if name not in self._repositories:
            raise ConfigurationError(f"The unit of work has no repository {name!r}")
        return self._repositories[name]

    async def step(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Await ``work()`` as the step ``name``, and keep what it returns in ``results``.

        The first step that fails is named in ``failed_step`` and in a note of its error, and condemns the whole: the block is rolled back
        even if the error is caught, and no further step runs. Raises ConfigurationError for a name that was used before.
        """
        if name in self.results or name == self.failed_step:
            raise ConfigurationError(f"The unit of work had a step {name!r} before")
        if self.failed_step is not None:
            raise ConfigurationError(f"The unit of work has failed in step {self.failed_step!r}")
        try:
            self.results[name] = done = await work()
            with translate_errors():
                await self._session.flush()  # so that a refusal is this step's, not the commit's
        except BaseException as error:
            self.failed_step = name
            self.results.pop(name, None)
            error.add_note(f"in step {name!r} of a unit of work")
            raise
        return done

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that may fail: its error is raised, and when the caller catches it, the rest goes on without that part."""
        point = await self._session.begin_nested()
        try:
            yield
            with translate_errors():
                await self._session.flush()
        except BaseException:
            await self._back_to(point)
            raise
        with translate_errors():
            await point.commit()

    async def commit(self) -> None:
        """Commit what was done so far; the block goes on with a new transaction. Inside another unit of work: ConfigurationError."""
        if self._nested is not None:
            raise ConfigurationError("A unit of work inside another is committed by the outer one")
        if self.failed_step is not None:
            raise ConfigurationError(f"The unit of work has failed in step {self.failed_step!r}")
        await self._keep()

    async def rollback(self) -> None:
        """Undo what was done so far; the block goes on with a new transaction. Inside another unit of work: ConfigurationError."""
        if self._nested is not None:
            raise ConfigurationError("A unit of work inside another is rolled back by raising an error")
        await self._undo()

    async def _keep(self) -> None:
        try:
            with translate_errors():
                if self._nested is None:
                    await self._session.commit()
                else:
                    await self._nested.commit()
        except BaseException:
            await self._undo()
            raise

    async def _undo(self) -> None:
        if self._nested is not None:
            await self._back_to(self._nested)
            return
        await finish(self._session, close=False)

    async def _back_to(self, point: AsyncSessionTransaction) -> None:
        """Roll back to a savepoint, unless somebody rolled back further; a broken connection shows at the next statement."""
        open_ones = self._session.sync_session.get_nested_transaction()
        while open_ones is not None and open_ones is not point.sync_transaction:
            open_ones = open_ones.parent
        if open_ones is not None:
            with suppress(SQLAlchemyError, OSError):
                await uninterrupted(point.rollback())
