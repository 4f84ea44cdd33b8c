"""The embedded corpus and the topic classification made from it."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from roformer.data import SOURCES, Document
from roformer.data.sources import _docstrings as docstrings
from roformer.data.sources.docs_topics import name_pattern
from roformer.errors import UserError

TOPICS = {"accelerate": ["accelerate"], "rich": ["rich"]}


def docs(**changes: object) -> list[Document]:
    settings = {"name": "docs", "packages": ["accelerate"], "min_characters": 200, **changes}
    return list(SOURCES.build(settings).documents())


def topics(**changes: object) -> list[Document]:
    settings = {"libraries": TOPICS, "min_characters": 300, "max_documents_per_library": 20, **changes}
    return list(SOURCES.build({"name": "docs_topics", **settings}).documents())


def test_docs_are_long_enough_distinct_and_in_a_fixed_order() -> None:
    """Catches an order that depends on the file system, a lost minimum, and duplicates across splits."""
    first, again = (docs() for _ in range(2))
    assert first == again
    assert len(first) > 20
    assert min(len(document.text) for document in first) >= 200
    assert len({document.text for document in first}) == len(first)
    assert all(document.label is None and document.split is None for document in first)


@pytest.mark.slow
def test_packages_are_read_without_being_imported() -> None:
    """Catches an extraction that runs other people's code; in a new process, where nothing is imported yet."""
    code = """
        import sys
        from roformer.data import SOURCES
        source = SOURCES.build({"name": "docs", "packages": ["matplotlib", "rich"], "min_characters": 200})
        before = set(sys.modules)
        assert "matplotlib" not in before, "this test needs a package that roformer.data does not import"
        assert list(source.documents())
        print(sorted(name for name in set(sys.modules) - before if name.split(".")[0] in ("matplotlib", "torch")))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[]"


def test_docstrings_come_in_source_order_dedented_and_from_every_statement(tmp_path: Path) -> None:
    """Catches breadth-first order, kept indentation, and definitions missed inside if, try, with or match."""
    path = tmp_path / "module.py"
    path.write_text(
        textwrap.dedent('''
            """Top."""
            class A:
                """A
                second line."""
                def f(self):
                    """A.f"""
                    def inner():
                        """inner"""
            if True:
                def g(): "g"
            else:
                async def h(): "h"
            try:
                def i(): "i"
            except Exception:
                def j(): "j"
            finally:
                def k(): "k"
            match 1:
                case 1:
                    def m(): "m"
        ''')
    )
    expected = ["Top.", "A\nsecond line.", "A.f", "inner", "g", "h", "i", "j", "k", "m"]
    assert docstrings.file_docstrings(path) == expected


@pytest.mark.parametrize("content", [b"def broken(:", b'"""caf\xe9"""', b"'''a\0b'''", b"# coding: nonsense\n'''a'''"])
def test_unreadable_modules_are_skipped(tmp_path: Path, content: bytes) -> None:
    """Catches one bad file (templates, Python 2, odd encodings) that stops the whole corpus."""
    path = tmp_path / "module.py"
    path.write_bytes(content)
    assert docstrings.file_docstrings(path) == []


def test_a_repeated_docstring_is_kept_at_its_first_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches generated copies of a module, whose text would stand in training and in validation."""
    for name in ("first", "second"):
        (tmp_path / "copies").mkdir(exist_ok=True)
        (tmp_path / "copies" / f"{name}.py").write_text(f'"""Shared."""\ndef f(): "only {name}"\n')
    (tmp_path / "copies" / "tests").mkdir()
    (tmp_path / "copies" / "tests" / "third.py").write_text('"""A test."""')
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "copies" / "__init__.py").write_text("raise SystemError('imported')\n")
    texts = [text for _, text in docstrings.module_texts(["copies"])]
    assert texts == ["", "Shared.\n\nonly first", "only second"]


@pytest.mark.slow
def test_many_processes_give_the_same_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a pool that returns files in the order in which they finish."""
    alone = list(docstrings.module_texts(["rich"]))
    monkeypatch.setattr(docstrings, "_FILES_WORTH_A_POOL", 1)
    assert list(docstrings.module_texts(["rich"])) == alone


def test_a_worker_parses_by_itself(monkeypatch):
    """Catches a sweep on joblib or submitit that dies at the first corpus: their workers may start no processes."""
    monkeypatch.setattr(docstrings, "_FILES_WORTH_A_POOL", 1)
    monkeypatch.setattr(docstrings, "ProcessPoolExecutor", lambda **_: pytest.fail("started processes"))
    with pytest.raises(pytest.fail.Exception, match="started processes"):
        list(docstrings.module_texts(["yaml"]))
    monkeypatch.setattr(docstrings.multiprocessing, "parent_process", lambda: "the launcher's")
    assert len(list(docstrings.module_texts(["yaml"]))) > 5


@pytest.mark.slow
def test_fingerprint_follows_settings_and_versions_without_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Catches a stale cache after an upgrade, and a fingerprint that costs the whole parse."""
    monkeypatch.setattr(docstrings, "file_docstrings", lambda path: pytest.fail("parsed"))

    def fingerprint(**changes: object) -> str:
        settings = {"name": "docs", "packages": ["accelerate", "rich"], "min_characters": 200, **changes}
        return SOURCES.build(settings).fingerprint()

    assert fingerprint() == fingerprint()
    assert len({fingerprint(), fingerprint(min_characters=201), fingerprint(packages=["rich", "accelerate"])}) == 3
    before = fingerprint()
    monkeypatch.setattr(docstrings.importlib.metadata, "version", lambda name: "0.0.0")
    assert fingerprint() != before


def test_a_package_that_is_not_installed_is_skipped_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    """Catches a default corpus that needs every optional package, and one that shrinks in silence."""
    assert docs(packages=["no_such_package", "accelerate"]) == docs()
    assert capsys.readouterr().err.startswith("data.packages: skipping no_such_package: not installed")


def test_a_class_that_is_not_installed_is_named() -> None:
    """Catches a classification that silently loses a class."""
    with pytest.raises(UserError, match=r"'no_such_package'.*roformer-lab\[all\]"):
        topics(libraries={"no_such_package": ["x"]})


def test_a_corpus_without_documents_says_what_to_change() -> None:
    """Catches an empty corpus that fails far away from its cause."""
    with pytest.raises(UserError, match=r"min_characters"):
        docs(min_characters=10**9)
    with pytest.raises(UserError, match=r"'accelerate'.*min_characters"):
        topics(min_characters=10**9)
    with pytest.raises(UserError, match=r"data\.libraries\.rich is empty"):
        topics(libraries={"rich": []})


def test_topics_hide_their_own_library() -> None:
    """Catches the label standing in the text: with it, the task needs no model."""
    found = topics(max_documents_per_library=10**6)
    for label in TOPICS:
        texts = [document.text for document in found if document.label == label]
        assert texts
        assert not [text for text in texts if label in text.lower()]


def test_topics_are_balanced_distinct_and_stable() -> None:
    """Catches a class limit that is ignored, and a choice that differs between runs."""
    found = topics()
    assert found == topics()
    counts = [sum(document.label == label for document in found) for label in TOPICS]
    assert max(counts) <= 20
    assert min(counts) > 5
    assert len({document.text for document in found}) == len(found)
    assert min(len(document.text) for document in found) >= 300


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("input np.array(x)", "input .array(x)"),
        ("my_np_array NumPyArray x", "  x"),
        ("see scikit-learn, Scikit\nLearn and scikit_learn_extra", "see ,  and "),
        ("simple implementation", "simple implementation"),
        ("mpl_toolkits", ""),
    ],
)
def test_names_are_removed_as_words(text: str, left: str) -> None:
    """Catches "np" eating "input" and "mpl" eating "simple", and names hidden in identifiers."""
    assert name_pattern(["numpy", "np", "mpl", "scikit learn"]).sub("", text) == left
