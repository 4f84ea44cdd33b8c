"""Documents that are trained on and evaluated, too."""

from roformer.data import SOURCES
from roformer.data.corpus import Corpus
from roformer.data.repeated import WithoutRepeated


def corpus_of(folder, **settings):
    data = {
        "name": "text",
        "path": str(folder),
        "text_column": "text",
        "validation_fraction": 0.0,
        "test_fraction": 0.0,
    }
    return Corpus.from_settings({**data, **settings})


def write(folder):
    (folder / "train.csv").write_text("text\none\ntwo\nthree\ntwo\n")
    (folder / "test.csv").write_text("text\ntwo\nfour\n")


def test_repeated_documents_are_dropped_on_demand(tmp_path):
    """Catches test documents that stay in training, and evaluated ones that are dropped as well."""
    write(tmp_path)
    kept, dropped = corpus_of(tmp_path), corpus_of(tmp_path, drop_repeated=True)
    texts = [(document.split, document.text) for document in dropped.source.documents()]
    assert sorted(texts) == [("test", "four"), ("test", "two"), ("train", "one"), ("train", "three")]
    assert dropped.source.skipped == {"training documents that are evaluated, too": 2}
    assert len(list(kept.source.documents())) == 6
    assert kept.source.fingerprint() != dropped.source.fingerprint()
    assert dropped.source.provided_splits() == {"train", "test"}


def test_what_parts_leave_out_is_counted_once(tmp_path):
    """Catches a mixture that forgets what its parts have skipped."""
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    part = {"name": "text", "path": str(tmp_path), "text_column": "text"}
    mixture = SOURCES.build({"name": "mixture", "sources": [part, part]})
    assert len(list(mixture.documents())) == 2
    assert mixture.skipped == {"rows without text": 2}
    wrapped = WithoutRepeated(mixture, {"validation_fraction": 0.0, "test_fraction": 0.0})
    assert len(list(wrapped.documents())) == 2
    assert wrapped.skipped == {"rows without text": 2}
