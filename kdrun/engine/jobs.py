"""A run of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kdrun.config.experiment import Experiment
from kdrun.engine.recording import run_recorded
from kdrun.engine.session import Outcome, Session
from kdrun.engine.sources import Sources
from kdrun.errors import KdrunError, RunError
from kdrun.graph.types import part_of
from kdrun.registry.blame import in_plugin
from kdrun.runtime.progress import Reporter

__all__ = ["Job", "sendable"]


@dataclass(frozen=True)
class Job:
    """One run of a sweep; ``planned`` if a run that differs in the seed alone has been planned.

    ``records`` is the folder of its records, if it is to keep any.
    """

    label: str
    experiment: Experiment
    planned: bool = False
    records: Path | None = None

    def run(self, reporter: Reporter, sources: Sources | None = None, *, waits: bool = True) -> Outcome:
        """Raises what is wrong with the configuration, and ``RunError``; unless it ``waits``, ``Occupied`` where another is at a stage."""
        session = Session(self.experiment, reporter, sources=sources)
        session.executor.waits = waits
        session.prepare(planned=self.planned)
        return self.outcome(session)

    def read_parts(self, sources: Sources) -> None:
        """Import the code of the stages that are to be run, and read the data that they read first into ``sources``."""
        from kdrun.runtime.fakes import on_fakes

        session = Session(self.experiment, sources=sources)
        missing = [session.graph.nodes[name] for name in session.executor.missing()]
        for node in missing:
            part_of(node).load()
        with on_fakes():  # which makes torch read what planning takes
            pass
        _ = session.executor.hardware  # in force where data are generated, as in a run
        read = {ref.name for node in missing for ref in node.refs()}
        for node in session.graph:
            if node.verb == "data" and node.name in read:
                sources.splits(node)

    def outcome(self, session: Session) -> Outcome:
        """What a session of this job gives, with records where they are to be kept."""
        return session.run() if self.records is None else run_recorded(session, self.records)[0]


def sendable(error: Exception) -> KdrunError | None:
    """The error of a run as one of kdrun's own classes, which every process has, too, and nothing else of its frames.

    None for one that is neither kdrun's nor a plug-in's.
    """
    if not isinstance(error, KdrunError):
        plugins = in_plugin(error)
        return None if plugins is None else RunError(plugins[0], where=plugins[1])
    kind = next(c for c in type(error).__mro__ if c.__module__ == KdrunError.__module__)
    found: KdrunError = kind(error.message, key=error.key, where=error.where)
    return found
