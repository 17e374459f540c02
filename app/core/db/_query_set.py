"""A model's optimised queries as an object to depend on: ``class MyQuerySet(OptimizedQuerySetMixin[MyModel])``."""

from typing import Any, ClassVar, Generic, TypeVar, Unpack, get_args, get_origin

from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapper

from app.core.db._filters import Filters
from app.core.db._optimized_read import ReadOptions, check_options
from app.core.db._pages import MAX_LIMIT
from app.core.db._query_optimizer import QueryOptimizer
from app.core.db._statements import ModelT
from app.core.errors import ConfigurationError


class OptimizedQuerySetMixin(Generic[ModelT]):
    """``MyQuerySet(db)`` asks for rows of its model through ``QueryOptimizer``; made in a dependency, one for each session.

    The model is named in brackets and never mapped a second time: ``class MyQuerySet(OptimizedQuerySetMixin, MyModel)`` would be an
    entity of its own, and is refused with a ConfigurationError where it is written. ``defaults`` are options for every query of the
    class, unless a call says otherwise. Not for writing: that is a repository's.
    """

    model: ClassVar[type[Any]]
    """Whose rows these are."""
    defaults: ClassVar[ReadOptions] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        mapped = [base.__name__ for base in cls.__mro__[1:] if _is_base(base) or _is_mapped(base)]
        if mapped:
            raise ConfigurationError(
                f"{cls.__name__} would map {mapped[0]} a second time: "
                f"write class {cls.__name__}(OptimizedQuerySetMixin[{mapped[0]}])"
            )
        check_options(cls.defaults)
        super().__init_subclass__(**kwargs)  # not before: a mapped base would map the class here
        named = _named(cls)
        if isinstance(named, TypeVar):
            return
        if named is not None:
            cls.model = named
        if not _is_mapped(getattr(cls, "model", None)):
            raise ConfigurationError(
                f"{cls.__name__} does not say whose rows: write class {cls.__name__}(OptimizedQuerySetMixin[MyModel])"
            )

    def __init__(self, session: AsyncSession) -> None:
        if not hasattr(self, "model"):
            raise ConfigurationError(
                f"{type(self).__name__} is no query set: derive one, class MyQuerySet(OptimizedQuerySetMixin[MyModel])"
            )
        self._session = session

    async def optimized_query(
        self, params: Filters = None, *, limit: int = MAX_LIMIT, **options: Unpack[ReadOptions]
    ) -> list[ModelT]:
        """As ``QueryOptimizer.optimized_query``; without ``params`` all rows, up to ``limit``."""
        how: ReadOptions = {**self.defaults, **options}
        return await QueryOptimizer.optimized_query(self.model, params, self._session, limit=limit, **how)

    async def optimize_single_object_query(
        self, params: Filters = None, **options: Unpack[ReadOptions]
    ) -> ModelT | None:
        """As ``QueryOptimizer.optimize_single_object_query``."""
        how: ReadOptions = {**self.defaults, **options}
        return await QueryOptimizer.optimize_single_object_query(self.model, params, self._session, **how)


def _is_base(kind: type) -> bool:
    return issubclass(kind, DeclarativeBase)


def _is_mapped(kind: Any) -> bool:
    return isinstance(inspect(kind, raiseerr=False), Mapper)


def _named(cls: type) -> Any:
    """What stands in the brackets of the class's own bases, if any does."""
    for base in getattr(cls, "__orig_bases__", ()):
        origin = get_origin(base)
        if isinstance(origin, type) and issubclass(origin, OptimizedQuerySetMixin):
            return get_args(base)[0]
    return None
