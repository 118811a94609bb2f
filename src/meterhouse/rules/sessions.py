"""What the sessions of a Script aggregator and the store that holds them are called (reference: usage engine 4.2)."""

import json
from collections.abc import Sequence
from hashlib import sha1
from uuid import UUID


def store_id(stream_id: UUID, node_id: str) -> str:
    """Of the aggregation store of one function: 40 hexadecimal digits, the same as long as the function lives."""
    return sha1(f"{stream_id}/{node_id}".encode(), usedforsecurity=False).hexdigest()


def session_key(values: Sequence[str]) -> str:
    """Of the fields' values as texts, in the order of the rule: one is the key itself.

    Several are their compact JSON array, spelled as JavaScript's JSON.stringify does, which no other values share.
    """
    return values[0] if len(values) == 1 else json.dumps(values, separators=(",", ":"), ensure_ascii=False)
