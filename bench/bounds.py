"""What is promised of a ratio, and whether it holds."""

from typing import NamedTuple

from bench.turns import Measure, Rounds, ratio


class Bound(NamedTuple):
    """``over`` costs at least ``least`` and at most ``most`` times what ``under`` costs; without either nothing is promised."""

    over: str
    under: str
    measure: Measure
    least: float | None = None
    most: float | None = None


class Judged(NamedTuple):
    """A bound, and what was measured."""

    bound: Bound
    ratio: float

    @property
    def verdict(self) -> str:
        """Empty when nothing was promised."""
        _, _, _, least, most = self.bound
        if least is not None and self.ratio < least:
            return "BELOW THE FLOOR"
        if most is not None and self.ratio > most:
            return "ABOVE THE LIMIT"
        return "" if least is None and most is None else "holds"

    @property
    def is_broken(self) -> bool:
        """Whether a promise is not kept."""
        return self.verdict.isupper()


def judge(bounds: tuple[Bound, ...], rounds: Rounds) -> list[Judged]:
    """Each bound with its ratio."""
    return [Judged(bound, ratio(rounds, *bound[:3])) for bound in bounds]
