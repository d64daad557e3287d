"""How far is searched: few examples or more, always the same, or many new ones (``--hypothesis-profile=long``, by hand)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

COMMON = {
    "deadline": None,  # nothing here is timed
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
settings.register_profile("few", max_examples=30, derandomize=True, **COMMON)
settings.register_profile("more", max_examples=100, derandomize=True, **COMMON)
settings.register_profile("long", max_examples=600, print_blob=True, **COMMON)
settings.load_profile("few")
