"""The boot audit's look at work that is no request: its policies are compiled before anything runs under them."""

from collections.abc import Iterator, Mapping

from app.core.errors import ConfigurationError
from app.core.http._gate import Gate
from app.core.policies import Engine, JobConfig


class WorkAudit:
    """The policies that features declare for ``engine.run``, by name. ``gates``: with their overrides, once ``check`` has run."""

    def __init__(self, work: Mapping[str, JobConfig], engine: Engine) -> None:
        self.work = work
        self.gates: list[Gate] = []
        self._engine = engine

    def check(self, gate_names: set[str]) -> Iterator[str]:
        """What is wrong with them."""
        for name, config in self.work.items():
            if name in gate_names:
                yield f"the name {name} belongs to a gate and to work; give each its own name"
                continue
            try:
                self.gates.append(Gate(name, self._engine.post(name, config).config))
            except ConfigurationError as error:
                yield f"the work {name}: {error}"
