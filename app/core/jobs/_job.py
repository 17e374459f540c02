"""Declaring a job: one decorator over a function with typed arguments."""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, ParamSpec, TypeVar, cast, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from app.core.db import WriteSession
from app.core.errors import ConfigurationError
from app.core.jobs._broker import Priority
from app.core.jobs._cron import Cron
from app.core.jobs._errors import JobFailed, JobRejected
from app.core.jobs._options import WORK, JobOptions
from app.core.jobs._run import JobRun
from app.core.policies import JobConfig

A = TypeVar("A", bound=BaseModel)
P = ParamSpec("P")
R = TypeVar("R")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Job(Generic[A]):
    """A declared job: what ``@job`` makes of a function. Calling it calls the function, which is what a test of it wants.

    ``arguments``: the model that its arguments must be. ``policy``: the name under which the policy engine knows it. ``in_process``:
    whether it runs in a process of the pool, as plain functions do. ``wants_session``: whether it writes in the transaction of its own end.
    """

    def __init__(self, function: Callable[..., Any], options: JobOptions) -> None:
        self.function = function
        self.options = options
        self.name = options.name
        self.policy = f"job_{options.name}"
        self.in_process = not inspect.iscoroutinefunction(function)
        self.arguments: type[A]
        self.arguments, self.wants_session, result = _signature(function, options.name)
        if self.wants_session and self.in_process:
            raise ConfigurationError(
                f"The job {self.name} runs in a process of its own and cannot have a session: make it async"
            )
        self.cron = self._cron(options)
        self._result: TypeAdapter[Any] = TypeAdapter(result)
        # What ``model_validate_json`` calls, without its own checks of options: it is called for every job.
        self._read = TypeAdapter(self.arguments).validator.validate_json
        self.__doc__ = function.__doc__

    def _cron(self, options: JobOptions) -> Cron | None:
        if options.cron is None:
            return None
        try:
            self.arguments()
        except ValidationError:
            raise ConfigurationError(
                f"The job {self.name} runs by itself, so its arguments need defaults"
            ) from None
        return Cron(options.cron, options.time_zone)

    def __repr__(self) -> str:
        return f"<Job {self.name} of queue {self.options.queue}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, as if it were not declared."""
        return self.function(*args, **kwargs)

    @property
    def place(self) -> str:
        """Where another process finds it: ``module:name``."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    def pack(self, arguments: A) -> bytes:
        """Its arguments as JSON. Raises JobRejected (422) for arguments of another model, for what a worker could not read again, and for
        more than 64 KiB.
        """
        if not isinstance(arguments, self.arguments):
            raise JobRejected(
                f"The job {self.name} takes {self.arguments.__name__}, not {type(arguments).__name__}."
            )
        try:
            # By name, and without computed fields: what the model itself takes back.
            packed = arguments.model_dump_json(by_alias=False, round_trip=True, warnings=False).encode()
        except ValueError as error:
            raise JobRejected(f"The arguments of {self.name} are no JSON.") from error
        if len(packed) > self.options.max_arguments:
            raise JobRejected(
                f"The arguments of {self.name} may have {self.options.max_arguments:,} bytes, not {len(packed):,}."
            )
        self.unpack(packed)
        return packed

    def unpack(self, packed: bytes) -> A:
        """The arguments again. Raises JobRejected for what this version of the job does not take."""
        try:
            arguments: A = self._read(packed, by_alias=True, by_name=True)
        except ValidationError as error:
            raise self._refused(error) from error
        return arguments

    def check(self, arguments: Mapping[str, Any]) -> A:
        """The arguments from values by name. Raises JobRejected (422)."""
        try:
            return self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise self._refused(error) from error

    def _refused(self, error: ValidationError) -> JobRejected:
        where = ", ".join(sorted({".".join(map(str, one["loc"])) or "all" for one in error.errors()}))
        return JobRejected(f"The job {self.name} does not take these arguments: {where}.")

    def pack_result(self, result: Any) -> bytes | None:
        """Its result as JSON; None for none. Raises JobFailed for what is no JSON, and for more than ``max_result`` bytes: the work is
        done, and to do it again would give the same.
        """
        if result is None:
            return None
        try:
            packed = self._result.dump_json(result)
        except ValueError as error:
            raise JobFailed(f"The result of the job {self.name} is no JSON.") from error
        if len(packed) > self.options.max_result:
            raise JobFailed(
                f"The result of the job {self.name} may have {self.options.max_result:,} bytes, not {len(packed):,}: "
                "keep it elsewhere and return where."
            )
        return packed

    async def work(self, arguments: A, run: JobRun, session: WriteSession | None) -> Any:
        """Run an async job here. ``session`` for one that wants it."""
        if self.wants_session:
            return await cast("Awaitable[Any]", self.function(arguments, run, session))
        return await cast("Awaitable[Any]", self.function(arguments, run))

    def work_here(self, arguments: A, run: JobRun) -> Any:
        """Run a plain one, in this thread: in a process of the pool."""
        return self.function(arguments, run)


def job(
    name: str,
    *,
    queue: str = "default",
    attempts: int = 5,
    backoff_s: float = 2.0,
    longest_backoff_s: float = 600.0,
    priority: Priority = "normal",
    config: JobConfig | None = None,
    cron: str | None = None,
    time_zone: str = "UTC",
    unique: Callable[[Any], str] | None = None,
) -> Callable[[Callable[..., Any]], Job[Any]]:
    """Declare a job: ``@job("mail_report")`` over ``async def mail_report(arguments: MailReport, run: JobRun)`` in a feature's ``jobs.py``,
    and name it in the feature's line of the registry.

    An async function runs in the worker's loop; with a third parameter ``session: AsyncSession`` what it writes there is committed with its
    success or not at all. A plain function runs in a process of its own, where it may use the processor for as long as its deadline lets
    it.

    name: unique, ``[a-z][a-z0-9_]*``; it is in the table, so changing it parks the jobs that wait. attempts: 1 to 100, how often it is
    tried in all. backoff_s, longest_backoff_s: the pause after the first failure, doubled each time up to the longest, with jitter. config:
    the policy of its runs (``job_<name>`` in overrides and metrics): roles and scopes of the submitter, breaker, limits, and ``timeout``,
    300 seconds unless it says otherwise; not credits, which are charged when the job is submitted. cron, time_zone: run it by itself at
    these times (five fields), with arguments that are all defaults. unique: the key, from the arguments, under which only one may be open.

    Raises ConfigurationError for options and functions that make no job.
    """
    options = JobOptions(
        name=name, queue=queue, attempts=attempts, backoff_s=backoff_s, longest_backoff_s=longest_backoff_s,
        priority=priority, config=config or WORK, cron=cron, time_zone=time_zone, unique=unique,
    )  # fmt: skip

    def declare(function: Callable[..., Any]) -> Job[Any]:
        return Job(function, options)

    return declare


class Catalog:
    """The jobs that this process knows, by name. Raises ConfigurationError for two of one name."""

    def __init__(self, jobs: Iterable[Job[Any]]) -> None:
        self._jobs: dict[str, Job[Any]] = {}
        for one in jobs:
            if self._jobs.setdefault(one.name, one) is not one:
                raise ConfigurationError(f"Two jobs of the name {one.name}")

    def __iter__(self) -> Iterator[Job[Any]]:
        return iter(self._jobs.values())

    def get(self, name: str) -> Job[Any] | None:
        """The job of this name, if it is known here."""
        return self._jobs.get(name)

    def taking(self, arguments: BaseModel) -> Job[Any] | None:
        """The one job whose arguments are of this model; None when there is none, or more than one."""
        found = [one for one in self._jobs.values() if one.arguments is type(arguments)]
        return found[0] if len(found) == 1 else None

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues of all of them, sorted."""
        return tuple(sorted({one.options.queue for one in self._jobs.values()}))


def _signature(function: Callable[..., Any], name: str) -> tuple[type[Any], bool, Any]:
    """The model of its arguments, whether it takes a session, and what it returns."""
    hints = get_type_hints(function)
    names = list(inspect.signature(function).parameters)
    kinds = [hints.get(one) for one in names]
    model = kinds[0] if kinds else None
    is_right = isinstance(model, type) and issubclass(model, BaseModel) and len(names) in (2, 3)
    if not is_right or kinds[1] is not JobRun:
        raise ConfigurationError(
            f"The job {name} must be a function of (arguments: a pydantic model, run: JobRun[, session: AsyncSession])"
        )
    return cast("type[Any]", model), len(names) == 3, hints.get("return", Any)
