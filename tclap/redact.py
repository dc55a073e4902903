"""Addresses and messages as they may be printed: without the passwords in them."""

from __future__ import annotations

import re

# user:password@ of a URL; the password may hold an "@" of its own, and ends at the last one before "/" or a blank.
LOGIN = re.compile(r"(://[^\s/@:]*):[^\s/]*@")
QUERY = re.compile(r"([?&](?:password|passwd|pwd|token|secret|sslpassword)=)[^&\s\"')]*", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """`text`, a URL or a message that holds some, with every password in it replaced by `***`."""
    return QUERY.sub(r"\1***", LOGIN.sub(r"\1:***@", text))
