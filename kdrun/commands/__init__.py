"""The commands of the ``kdrun`` program, one file each, imported only when called."""
