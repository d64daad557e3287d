"""What tests of several packages share: recipes, rows, tensors, models, the surroundings of a stage."""
