"""What a job of a multirun says of itself, also from another process, and to sweepers that read a number."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Told", "Value"]


@dataclass
class Told:
    """What was swept, the figures, the exit code, how it ended (finished, pruned or failed), and why it failed."""

    words: list[str]
    metrics: dict[str, float] = field(default_factory=dict)
    code: int = 0
    state: str = "finished"
    error: str = ""


class Value(float):
    """A job's objective, NaN of one that failed, as sweepers read it, with all that the job says."""

    told: Told

    def __new__(cls, value: float, told: Told) -> Value:
        made = super().__new__(cls, value)
        made.told = told
        return made

    def __getnewargs__(self) -> tuple[float, Told]:  # type: ignore[override]
        return float(self), self.told
