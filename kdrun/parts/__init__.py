"""What a stage does by name (``by``): reduce, label, select, solve, merge and their kin, by mathematics."""
