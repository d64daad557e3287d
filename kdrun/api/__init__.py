"""kdrun for programs and notebooks: what the commands do, as functions that return values and print nothing."""
