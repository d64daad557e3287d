"""Composition of YAML groups and recipes into one configuration, through Hydra."""
