"""How far a long command has come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, TaskID


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Gives a function to call with a name, what is done, and what there is in all: a bar for each name on standard error, and nothing
    where that is no terminal.
    """
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def report(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name)
            bars.update(tasks[name], completed=done, total=max(total, done))

        yield report
