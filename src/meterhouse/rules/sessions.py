"""What a session of a Script aggregator is called (reference: usage engine 4.2)."""

import json
from collections.abc import Sequence


def session_key(values: Sequence[str]) -> str:
    """Of the fields' values as texts, in the order of the rule: one is the key itself.

    Several are their compact JSON array, spelled as JavaScript's JSON.stringify does, which no other values share.
    """
    return values[0] if len(values) == 1 else json.dumps(values, separators=(",", ":"), ensure_ascii=False)
