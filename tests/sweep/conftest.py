import os

import pytest


@pytest.fixture
def without_waiting_for_the_disk(monkeypatch):
    """A journal flushes each of thousands of entries; that a crashed machine keeps them is not asked of a search."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
