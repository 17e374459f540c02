"""Which repository serves a model, and one of each for a session."""

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase

from app.core.db._repository import AsyncBaseRepository
from app.core.db._statements import ModelT
from app.core.errors import ConfigurationError

Make = Callable[[AsyncSession], AsyncBaseRepository[ModelT]]


class RepositoryFactory:
    """Makes repositories: the plain one, or one of your own that was registered for the model.

    Fill it at start; then it may be shared by all requests.
    """

    def __init__(self) -> None:
        self._makes: dict[type[DeclarativeBase], Make[Any]] = {}

    def register(self, model: type[ModelT], make: Make[ModelT]) -> None:
        """``make(session)`` serves ``model`` from now on: a function, or a class whose constructor takes the session.

        Raises ConfigurationError when the model has one already.
        """
        if model in self._makes:
            raise ConfigurationError(f"{model.__name__} has a repository of its own already")
        self._makes[model] = make

    def create(self, model: type[ModelT], session: AsyncSession) -> AsyncBaseRepository[ModelT]:
        """A new repository of ``model``. Raises ConfigurationError when what was registered makes another model's."""
        make = self._makes.get(model)
        if make is None:
            return AsyncBaseRepository(model, session)
        made = cast("AsyncBaseRepository[ModelT]", make(session))
        if made.model is not model or made.session is not session:
            raise ConfigurationError(
                f"What was registered for {model.__name__} serves another model or session"
            )
        return made


class RepositoryProvider:
    """The repositories of one session: made when first asked for, and the same one every time."""

    def __init__(self, session: AsyncSession, factory: RepositoryFactory | None = None) -> None:
        self._session = session
        self._factory = factory or RepositoryFactory()
        self._made: dict[type[DeclarativeBase], AsyncBaseRepository[Any]] = {}

    @property
    def session(self) -> AsyncSession:
        """The session that all of them use."""
        return self._session

    def get_repository(self, model: type[ModelT]) -> AsyncBaseRepository[ModelT]:
        """The repository of ``model``."""
        if model not in self._made:
            self._made[model] = self._factory.create(model, self._session)
        return self._made[model]
