"""Stage kinds of the run graph, one file a kind."""
