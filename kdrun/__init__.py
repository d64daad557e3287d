"""kdrun: declarative, config-driven experiments in knowledge transfer."""

__version__ = "0.1.0"
