"""Words that make a recipe short, each turned into the plain grammar of nodes before anything is checked."""
