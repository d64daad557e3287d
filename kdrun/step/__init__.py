"""Step graphs: what happens to one batch. Read (spec), compiled (compiler), run (program)."""
