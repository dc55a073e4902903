"""ZSTE: zero-shot temporal evaluation (design 6, algorithm 1 of the paper)."""
