"""The README and the documentation: their Python and their commands run, their links lead somewhere, generated pages
are what the code says."""

import csv
import json
import re

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from roformer.config import EvaluateConfig, TrainConfig
from roformer.training.validation import validate
from tests.choices import POSITION, overridden_hooks
from tests.commands import Commands
from tests.documentation import ROOT, commands, python_blocks
from tests.tiny_runs import composed
from tools.pages import PAGES

DOCS = sorted(path for path in (ROOT / "docs").rglob("*.md"))
TRIED = [ROOT / "README.md", ROOT / "data/README.md", *sorted((ROOT / "docs/guide").glob("*.md"))]
RUN = "outputs/mlm-docs-rope-seed1"  # of ``python train.py``
SMALL_DOCS = "data.packages=[rich]"
SMALL_TOPICS = [f"~data.libraries.{name}" for name in ("torch", "transformers", "sklearn", "scipy", "sympy", "pandas")]
DATA = {  # what a command that names none gets, by task
    "data=docs": [SMALL_DOCS],
    "data=docs_topics": [*SMALL_TOPICS, "data.max_documents_per_library=20"],
}


def name(page):
    return str(page.relative_to(ROOT))


@pytest.fixture
def desk(tmp_path, tiny_runs):
    """An empty folder with the data that the pages call ``my``, and a file to evaluate on."""
    rng, my = np.random.default_rng(0), tmp_path / "my"
    my.mkdir()
    (my / "corpus").symlink_to(tiny_runs.text)
    (my / "chinese").symlink_to(tiny_runs.text)
    (my / "parallel").symlink_to(tiny_runs.parallel)
    (my / "entities.jsonl").symlink_to(tiny_runs.tagged)
    (my / "squad.jsonl").symlink_to(tiny_runs.questions)
    (my / "reviews").mkdir()
    (my / "reviews/all.csv").symlink_to(tiny_runs.labelled)
    words = ["oak", "sea", "pan", "today", "court", "contract", "weather", "law"]

    def rows(columns, label):
        return [{**{key: " ".join(rng.choice(words, 20)) for key in columns}, **label(number)} for number in range(60)]

    with (my / "pairs.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["first", "second", "similarity"])
        table.writeheader()
        table.writerows(rows(["first", "second"], lambda number: {"similarity": number / 60}))
    triplets = rows("ABC", lambda number: {"label": "BC"[number % 2]})
    (my / "triplets.jsonl").write_text("\n".join(map(json.dumps, triplets)))
    for task in ("mrpc", "rte"):
        (my / "glue" / task).mkdir(parents=True)
        for split in ("train", "validation", "test"):
            text = rows(["sentence1", "sentence2"], lambda number: {"label": number % 2})
            (my / "glue" / task / f"{split}.jsonl").write_text("\n".join(map(json.dumps, text)))
    (tmp_path / "README.md").symlink_to(ROOT / "README.md")
    return tmp_path


@pytest.fixture
def start(desk, tmp_path_factory):
    """Runs ``python words...`` in the desk's folder, whatever the script."""
    server = Commands(tmp_path_factory.mktemp("output"), cwd=desk)
    yield lambda script, *words: server.run(ROOT / script, *words)
    server.close()


def first_choice(command):
    """The overrides of the first run of a sweep."""
    chosen = []
    for word, parsed in zip(
        command.overrides, OverridesParser.create().parse_overrides(command.overrides), strict=True
    ):
        swept = parsed.is_sweep_override() and next(iter(parsed.sweep_string_iterator()))
        chosen.append(f"{parsed.key_or_group}={swept}" if swept else word)
    return chosen


def smoke(command, cache):
    """What makes a training of the documentation take a blink: two steps of a tiny model, in the folder of the real
    one."""
    raw = composed("train", *first_choice(command))
    folder = OmegaConf.to_container(raw.paths, resolve=False)["output_dir"]
    folder = f"'{folder}'" if folder else "null"
    data = DATA.get(f"data={raw.data.name}", [])
    backend = (
        [] if {"attention", "experiment"} & {word.partition("=")[0] for word in command.words} else ["attention=sdpa"]
    )
    return [
        *("debug=smoke", "trainer.precision=fp32", f"paths.output_dir={folder}", f"paths.cache_dir={cache}"),
        *data, *backend, *command.more,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("page", TRIED, ids=name)
def test_the_commands_of_a_page_run(page, start, desk, tmp_path_factory):
    """Catches a command that has drifted from the code, or that needs something which no command before it made."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    cache = tmp_path_factory.getbasetemp() / "cache-of-pages"
    if page.name == "examples.md":  # which follows the guide on training
        assert (
            start("train.py", "debug=smoke", f"paths.output_dir={RUN}", SMALL_DOCS, "trainer.precision=fp32").status
            == 0
        )
    for command in commands(page):
        program, *words = command.words
        if command.how in ("compose",) or command.how.startswith("skip"):
            continue
        if program == "make":
            assert set(words) <= targets
            continue
        assert program in ("python", "torchrun")
        if program == "torchrun":
            where = words.index("train.py")
            words = [*words[:where], str(ROOT / "train.py"), *words[where + 1 :], *smoke(command, cache)]
            done = Commands(desk, cwd=desk).start_fresh("-m", "torch.distributed.run", *words).wait()
        elif words[0] == "train.py":
            done = start("train.py", *words[1:], *smoke(command, cache))
        elif words[0] == "-m":
            small = [SMALL_DOCS, f"paths.cache_dir={cache}"] if "data=docs" in words else []
            done = start(f"{words[1].replace('.', '/')}.py", *words[2:], *small, f"paths.cache_dir={cache}")
        elif words[0].startswith("examples/own_data"):
            done = start(words[0], *words[1:-1], "2")
        else:
            done = start(*words)
        assert done.status == 0, f"{' '.join(command.words)}\n{done.stderr.read_text()}"


@pytest.mark.parametrize("page", [page for page in dict.fromkeys([*TRIED, *DOCS]) if commands(page)], ids=name)
def test_the_commands_of_a_page_compose(page):
    """Catches a command that names a recipe or a setting that does not exist, or that cannot work."""
    for command in commands(page):
        if command.words[:2] == ("python", "evaluate.py"):
            assert EvaluateConfig.from_hydra(composed("evaluate", *command.overrides)).runs
        elif command.words[:2] == ("python", "train.py") and "hydra/launcher" not in " ".join(command.words):
            chosen = first_choice(command)
            raw = composed("train", *chosen)
            missing = [f"data.{key}=x" for key in ("path", "glue_task") if OmegaConf.is_missing(raw.data, key)]
            if "data.glue_task=x" in missing:
                missing = [value.replace("glue_task=x", "glue_task=rte") for value in missing]
            validate(TrainConfig.from_hydra(composed("train", *chosen, *missing)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["README.md", "docs/guide/library.md", "docs/guide/position_layer.md", "docs/guide/runtimes.md"]
)
def test_the_python_of_a_page_runs(tiny_runs, tmp_path, monkeypatch, page):
    """Catches an example that has drifted from the code; each may use the names of those before it."""
    tiny_runs.train(tmp_path / RUN)
    tiny_runs.train(tmp_path / "outputs/translation-parallel-rope-seed1", task="translation")
    monkeypatch.chdir(tmp_path)
    names = {}
    blocks = python_blocks(ROOT / page)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_the_page_on_positions_names_the_hooks_of_every_encoding():
    """Catches an encoding that the page does not have, or a hook that an attention of one's own would not call."""
    page = (ROOT / "docs/guide/position_layer.md").read_text()
    rows = re.findall(r"^\| ([\w, ]+) \| (.*) \|$", page.split("| encodings | hooks |")[1], flags=re.MULTILINE)
    named = {each: set(re.findall(r"`(\w+)`", hooks)) for names, hooks in rows for each in names.split(", ")}
    assert named.pop("randomized") == {"map_positions", "base_encoding"}
    hooks = {each: overridden_hooks(each) for each in POSITION if each != "randomized"}
    assert named == {each: hooks[each] for each in named}
    assert set(map(frozenset, named.values())) == set(hooks.values()), "an encoding of other hooks needs a row"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_generated_pages_are_up_to_date(path):
    """Catches a page that somebody typed into, and a change of the code that a page does not have: make docs."""
    assert path.read_text(encoding="utf-8") == PAGES[path]()


@pytest.mark.parametrize(
    "page", [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data/README.md"], ids=name
)
def test_links_lead_somewhere(page):
    """Catches a link to a file that was moved; on the site, links out of docs would be dead, too."""
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        linked = (page.parent / target).resolve()
        assert linked.exists(), target
        assert not page.is_relative_to(ROOT / "docs") or linked.is_relative_to(ROOT / "docs"), target


def test_every_page_is_in_the_navigation():
    """Catches a page that no reader finds."""
    listed = set(re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.MULTILINE))
    pages = {str(page.relative_to(ROOT / "docs")) for page in DOCS if page.name != "tables.md"}
    assert pages <= listed
    assert all((ROOT / "docs" / page).is_file() for page in listed)


def test_the_readme_is_short():
    """Catches a README that grows back."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
