"""The run graph: nodes, references, unrolling, checking, keys and drawing. Knows no tensors."""
