"""Keys of content-addressed folders."""

import hashlib
import json


def content_key(*parts: object) -> str:
    """Returns 20 hexadecimal digits that identify ``parts``, any JSON values; the order of keys is ignored."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]
