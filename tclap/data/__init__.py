"""From clips on disk to composite windows, captions and batches (design 3)."""
