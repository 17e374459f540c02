"""Strictly: an index that is not among the right ones is wrong, and so is one that was asked for and not named."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.advice._case import Case, Indexes


@dataclass(frozen=True, slots=True)
class Said:
    """What an adviser answered: indexes as the server writes them, or a refusal, or a failure, in words; after how many milliseconds."""

    indexes: Indexes = frozenset()
    refusal: str | None = None
    failure: str | None = None
    ms: float = 0.0
    rewrites: int = 0


@dataclass(frozen=True, slots=True)
class Graded:
    """One answer beside the right one: ``found`` is in both, ``extra`` was said and is wrong, ``missing`` is right and was not said."""

    case: Case
    said: Said
    found: Indexes = frozenset()
    extra: Indexes = frozenset()
    missing: Indexes = frozenset()

    @property
    def is_right(self) -> bool:
        """Whether all of it is as it should be."""
        if self.case.is_refused:
            return self.said.refusal is not None and not self.said.indexes
        return not (self.extra or self.missing or self.said.refusal or self.said.failure)

    @property
    def why(self) -> str:
        """What is wrong, in a line."""
        parts = [f"failed: {self.said.failure}"] if self.said.failure else []
        if self.case.is_refused:
            return "; ".join(parts) or "not refused"
        if self.said.refusal:
            parts.append(f"refused: {self.said.refusal}")
        parts += [f"said {one}" for one in sorted(self.extra)]
        if self.missing:
            parts.append("not said " + " + ".join(sorted(self.missing)))
        return "; ".join(parts)


def grade(case: Case, accepted: Sequence[Indexes], said: Said) -> Graded:
    """Beside the one of the accepted answers that it is nearest to."""
    nearest = max(
        accepted or [frozenset()], key=lambda one: (len(one & said.indexes), -len(one - said.indexes))
    )
    return Graded(
        case, said, nearest & said.indexes, said.indexes - nearest, nearest - said.indexes
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Score:
    """Of some answers. ``None`` where there was nothing to be right or wrong about."""

    statements: int
    right: int
    precision: float | None
    recall: float | None
    left_alone: float | None
    refused: float | None


def score(graded: Iterable[Graded]) -> Score:
    """Precision and recall count indexes; ``left_alone`` and ``refused`` count the statements where no index is right, or no answer."""
    all_of = list(graded)
    found, extra, missing = (
        sum(len(getattr(one, name)) for one in all_of) for name in ("found", "extra", "missing")
    )
    none = [one for one in all_of if not one.case.answers and not one.case.is_refused]
    bad = [one for one in all_of if one.case.is_refused]
    return Score(
        len(all_of),
        sum(one.is_right for one in all_of),
        _share(found, found + extra),
        _share(found, found + missing),
        _share(sum(one.is_right for one in none), len(none)),
        _share(sum(one.is_right for one in bad), len(bad)),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class Aims:
    """The least that a score must have; ``None`` asks nothing."""

    precision: float | None = None
    recall: float | None = None
    left_alone: float | None = None
    refused: float | None = None
    names: tuple[str, ...] = field(default=("precision", "recall", "left_alone", "refused"), repr=False)

    def missed(self, reached: Score) -> list[str]:
        """What is below its aim, in words. Where nothing was asked of the adviser nothing is missed."""
        pairs: list[tuple[str, Any, Any]] = [
            (name, getattr(self, name), getattr(reached, name)) for name in self.names
        ]
        return [
            f"{name} {is_now:.3f} is below {least:.3f}"
            for name, least, is_now in pairs
            if least is not None and is_now is not None and is_now < least
        ]
