"""Stages that use a step graph as a function: ``measure`` scores its nodes by metrics, ``compute`` keeps their values."""
