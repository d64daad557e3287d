"""Data sets: what a data part returns, the shipped parts, and batched transforms."""
