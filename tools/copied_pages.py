"""Pages of the documentation that are copies of files outside of docs, where readers of a repository look for them.

Links into docs and between these files are kept. Other links become plain text: the site has no such pages.
"""

import posixpath
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIES = {
    "README.md": "docs/index.md",
    "CONTRIBUTING.md": "docs/contributing.md",
    "data/README.md": "docs/data.md",
}
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#]+)(?P<anchor>#[^)]*)?\)")


def copied(source: str) -> str:
    """Returns the text of a file, with links as its copy in docs needs them."""
    return _LINK.sub(partial(_relinked, source), (ROOT / source).read_text(encoding="utf-8"))


def _relinked(source: str, link: re.Match[str]) -> str:
    """Returns a link, or its text where its target is not part of the documentation."""
    if "://" in link["target"]:
        return link[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["target"]))
    target = COPIES.get(target, target)
    if not target.startswith("docs/"):
        return link["text"]
    relative = posixpath.relpath(target, posixpath.dirname(COPIES[source]))
    return f"{link['image']}[{link['text']}]({relative}{link['anchor'] or ''})"


PAGES: dict[Path, Callable[[], str]] = {ROOT / copy: partial(copied, source) for source, copy in COPIES.items()}
