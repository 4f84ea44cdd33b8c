"""The code on pages of the documentation: blocks of Python, and the commands of blocks of bash.

A comment before a block of bash says how the tests treat its commands, other than running them:

    <!-- test: with seed=1 -->     run with these overrides as well, to make a sweep short
    <!-- test: compose -->         no run: each run's configuration is composed and checked
    <!-- test: skip, REASON -->    nothing
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?:<!-- test: (?P<how>[^>]*?) -->\n\n)?```(?P<language>bash|python)\n(?P<code>.*?)```", re.DOTALL
)
_ASSIGNMENT = re.compile(r"^[A-Z_]+=\S*$")


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        words: as a shell would split them, without assignments of environment variables.
        how: what the comment before its block says; empty without one.
    """

    words: tuple[str, ...]
    how: str

    @property
    def overrides(self):
        return [word for word in self.words if "=" in word and not word.startswith("--")]

    @property
    def sweeps(self):
        return bool({"-m", "--multirun"} & set(self.words[2:]))

    @property
    def more(self):
        """The overrides that the comment adds."""
        return shlex.split(self.how.removeprefix("with ")) if self.how.startswith("with ") else []


def python_blocks(page):
    """The Python of a page, block by block."""
    return [block["code"] for block in _BLOCK.finditer(page.read_text()) if block["language"] == "python"]


def commands(page):
    """The commands of a page, in order; without those that only set a variable of the shell."""
    found = []
    for block in _BLOCK.finditer(page.read_text()):
        if block["language"] == "bash":
            found += [Command(words, block["how"] or "") for words in _split(block["code"])]
    return found


def _split(code):
    """Each command of a block as words. ``$n`` of a loop becomes 3; an array is put in where it is used."""
    code = code.replace("\\\n", " ").replace("stage$n", "stage3")
    arrays = dict(re.findall(r"^(\w+)=\((.*?)\)$", code, flags=re.MULTILINE | re.DOTALL))
    code = re.sub(r"^\w+=\(.*?\)$", "", code, flags=re.MULTILINE | re.DOTALL)
    for name, content in arrays.items():
        code = code.replace(f'"${{{name}[@]}}"', " ".join(content.split()))
    code = re.sub(r"\bfor .*?; do (.*); done", r"\1", code)
    for line in code.splitlines():
        words = shlex.split(line, comments=True)
        while words and _ASSIGNMENT.match(words[0]):
            words = words[1:]
        if words and words[0] != "export":
            yield tuple(words)
