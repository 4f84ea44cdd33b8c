"""The key of a content-addressed folder."""

import hashlib
import json


def content_key(*parts: object) -> str:
    """Returns 20 hexadecimal digits that name ``parts`` (anything JSON can hold; the order of keys is ignored)."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
