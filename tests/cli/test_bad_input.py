"""Files, labels, settings, tokenizers and checkpoints that are wrong: one line that names them, and nothing lost."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from roformer.data.sources._local_files import find_files
from roformer.errors import UserError
from roformer.io import DIGESTS
from roformer.runs import RunFolder
from roformer.tokenizer import TOKENIZERS

WORDS = [f"the {adjective} owl saw the fern" for adjective in ("old", "young", "red", "small", "tall", "grey")]
TEXTS = [f"{words} and counted {number} acorns" for number in range(10) for words in WORDS]


def json_lines(rows):
    return "\n".join(json.dumps(row) for row in rows)


def labeled_rows(labels):
    return json_lines({"text": text, "label": labels[i % len(labels)]} for i, text in enumerate(TEXTS))


def csv_rows(rows, header="text"):
    return "\n".join([header, *rows])


@pytest.fixture
def on_files(tiny_runs, tmp_path):
    """Writes files and trains on them."""

    def train(files, *overrides, task="mlm", given="corpus"):
        for name, content in files.items():
            file = tmp_path / "corpus" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        data = "labeled" if task in ("classification", "regression") else "text"
        chosen = (f"data={data}", f"data.path={tmp_path / given}", "tokenizer.alphabet_size=30", "trainer.max_steps=1")
        tiny_runs.train(tmp_path / "run", *chosen, *overrides, task=task)

    return train


@pytest.fixture
def mistake_in(on_files, tmp_path):
    """Trains on files with a mistake in them, and returns the line that names it."""

    def train(files, **more):
        with pytest.raises(UserError) as error:
            on_files(files, **more)
        line = str(error.value)
        assert "\n" not in line
        assert len(line) < 600
        assert not RunFolder(tmp_path / "run").has_config
        return line

    return train


BROKEN_FILES = {
    "one document": ({"a.txt": TEXTS[0] * 100}, "split of 1 documents is empty ("),
    "brackets": ({"a.jsonl": "[" * 100_000}, "a.jsonl, line 1 cannot be read: maximum recursion depth"),
    "half of a character": ({"a.jsonl": '{"text": "a \\ud800 b"}'}, "column 'text' contains half of a character"),
    "digits": ({"a.jsonl": '{"text": "a", "n": ' + "9" * 5000 + "}"}, "a.jsonl, line 1 cannot be read: Exceeds the"),
    "no JSON": ({"a.json": '[{"text": "a"},\n{"text": }]'}, "a.json, line 2 is not JSON: Expecting value (column 10)"),
    "rows": ({"a.jsonl": "[1, 2]"}, "a.jsonl, line 1 is a list; each row must be an object"),
    "no header": ({"a.csv": csv_rows([f'"{text}"' for text in TEXTS], f'"{" ".join(TEXTS[:6])}"')}, "(columns: the"),
    "line breaks in the header": ({"a.csv": csv_rows(TEXTS, '"a\nb\nc"')}, "has no column 'text' (columns: a b c;"),
    "columns": ({"a.csv": csv_rows(TEXTS, ",".join(map(str, range(50_000))))}, "and 49,980 more; the first line"),
    "more fields": (
        {"a.csv": csv_rows([f"{text}, too" for text in TEXTS])},
        "line 2: 2 instead of 1 fields; put texts",
    ),
    "open quote": ({"a.csv": csv_rows([*TEXTS[:9], f'"{TEXTS[9]}', *TEXTS[10:]])}, "a.csv, line 61 is not readable"),
    "column twice": (
        {"a.csv": csv_rows([f"{text},x" for text in TEXTS], "text,text")},
        "has two columns named 'text'",
    ),
    "not UTF-8": ({"a.txt": b"caf\xe9 au lait"}, "a.txt is not UTF-8 text: invalid continuation byte at byte 3"),
    "parquet": ({"a.parquet": "no"}, "a.parquet is not a readable parquet file"),
    "semicolons": ({"a.csv": csv_rows(["1;x"], "id;text")}, "not ','; set data.delimiter=semicolon"),
    "line of a mistake": ({"a.jsonl": '{"text": "a"}\n{"text":\n'}, "a.jsonl, line 2 is not JSON"),
    "nothing but archives": ({"a.jsonl.zip": ""}, "corpus; it has 1 .jsonl.zip files (supported"),
    "damaged archive": ({"a.jsonl.gz": b"\x1f\x8b\x08\0\0"}, "a.jsonl.gz is a damaged archive: "),
    "an empty table": ({"a.csv": "text\n", "b.txt": "x"}, "its files contain no text; 1 .txt files are not read"),
    "nothing to read": ({"a.pdf": "no"}, "no supported file in the folder"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_broken_files(mistake_in, name):
    """Catches a traceback of a reader, a message of a whole document, and another column that is trained on."""
    files, expected = BROKEN_FILES[name]
    assert expected in mistake_in(files)


LABELS = {
    "types": ([1, "a"], "a.jsonl, row 2, column 'label': the label a is a text, earlier ones are each a number"),
    "truth": ([True, 1], "the label 1 is a number, earlier ones are each true or false"),
    "lists": ([["a"], ["b"]], "contains list instead of a label"),
    "objects": ([{"a": 1}, {"b": 1}], "contains dict instead of a label"),
    "infinity": ([float("inf"), 1.0], "contains inf instead of a label"),
    "half of a character": (["a\ud800", "b"], "column 'label' contains half of a character"),
    "hidden": ([0, 1, -1], "label '-1' of 20 documents usually stands for a hidden one"),
    "blanks": (["a", " a", "b"], "labels ' a' (20 documents) and 'a' (20 documents) would be two classes"),
    "points": ([1, 1.0, 2], "labels '1' (20 documents) and '1.0' (20 documents) would be two classes"),
    "empty": (["", " ", None, float("nan"), "a"], "('a'); skipped: 48 rows without text or label"),
    "the word nan": (["nan", "a"], "'nan', the label of 30 documents, is no class"),
    "one": (["a"], "classification needs two labels or more, the data has 1"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_are_no_classes(mistake_in, name):
    """Catches a class for what is missing, and one class that is counted as two."""
    labels, expected = LABELS[name]
    assert expected in mistake_in({"a.jsonl": labeled_rows(labels)}, task="classification")


NUMBERS = {
    "words": (["a", "b"], "regression needs numeric labels"),
    "underscores": (["1_000", "2"], "regression needs numeric labels, and '1_000' is none"),
    "large": ([1e308, 2.0], "regression needs labels between -1e+18 and 1e+18, found '1e+308'"),
    "constant": ([2.0], "all training documents have the label 2.0"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_labels_that_are_no_numbers(mistake_in, name):
    """Catches a loss of infinity that is blamed on the learning rate."""
    labels, expected = NUMBERS[name]
    assert expected in mistake_in({"a.jsonl": labeled_rows(labels)}, task="regression")


def test_a_class_that_is_named_like_a_split(mistake_in):
    """Catches the class "valid", whose documents become the validation split."""
    files = {f"{label}/{i}.txt": text for label in ("valid", "invalid") for i, text in enumerate(TEXTS[:9])}
    assert "the folder 'valid' was taken for a split" in mistake_in(files, task="classification")


LEFT_OUT = {
    "column": (
        {"a.jsonl": json_lines([{"text": text} for text in TEXTS] + [{"x": 1}] * 9)},
        "skipped: 9 rows without",
    ),
    "compressed": ({"a.jsonl": json_lines({"text": text} for text in TEXTS), "b.txt.zip": b""}, "1 .txt.zip files"),
    "texts beside tables": ({"a.csv": csv_rows(TEXTS), "b.txt": "x", "c/d.txt": "y"}, "skipped: 2 .txt files"),
    "hidden": ({"a.csv": csv_rows(TEXTS), ".x/b.csv": "x"}, "skipped: 1 .csv files"),
    "no token": ({"a.csv": csv_rows([*TEXTS, *("\x01" * n for n in range(1, 6))])}, "5 documents have no token"),
    "unknown": (
        {"a.csv": csv_rows([*TEXTS, *(chr(i) * 3 for i in range(0x4E00, 0x4F00))])},
        "of the tokens are unknown",
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_skipped_is_told(on_files, capsys, tmp_path, name):
    """Catches a corpus that is smaller than its owner thinks, without a word."""
    files, expected = LEFT_OUT[name]
    on_files(files)
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: "))
    assert expected in warning
    assert RunFolder(tmp_path / "run").provenance["data_warnings"] == [warning.removeprefix("warning: ")]


def test_texts_with_two_labels_are_told(on_files, capsys):
    """Catches labels that contradict each other, which no model can learn."""
    rows = labeled_rows(["a", "b"]) + "\n" + json_lines({"text": text, "label": "b"} for text in TEXTS[:10])
    on_files({"a.jsonl": rows}, task="classification")
    assert "10 documents have the text of another one, and another label" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_no_file(mistake_in, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe is neither a file nor a folder" in mistake_in({}, given="pipe")


@pytest.fixture
def shared_folder():
    """A folder that every user may enter; the test may become one of them, for whom permissions count."""
    folder, own = Path(tempfile.mkdtemp()), os.geteuid()
    folder.chmod(0o755)
    yield folder
    os.seteuid(own)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_a_folder_that_cannot_be_read(shared_folder):
    """Catches documents that are missing because nobody may read them."""
    (shared_folder / "a.txt").write_text(TEXTS[0])
    (shared_folder / "closed").mkdir(mode=0)
    (shared_folder / ".git").mkdir(mode=0)  # which holds no documents
    if os.geteuid() == 0:
        os.seteuid(65534)
    with pytest.raises(UserError, match=r"closed: Permission denied; change its permissions"):
        find_files(str(shared_folder))


def test_a_class_in_a_hidden_folder(mistake_in):
    """Catches "1 label" without a word on the folder that is the other one."""
    files = {f"{label}/{i}.txt": text for label in ("..x", "y") for i, text in enumerate(TEXTS[:9])}
    line = mistake_in(files, task="classification")
    assert "two labels or more, the data has 1 ('y'); skipped: 9 .txt files" in line


SETTINGS = {
    "model.layer_norm_eps=-1": "RoFormerLabConfig.layer_norm_eps must be above 0, got -1",
    "model.initializer_range=nan": "RoFormerLabConfig.initializer_range must be a finite number, got nan",
    "position.rope_theta=inf": "rope_theta must be a finite number, got inf",
    "tokenizer.max_characters=0": "tokenizer.max_characters must be at least 1, or null for all, got 0",
    "data.path=[a,b]": "data.path=a does not exist",
    "data.path=5": "path=5 is not possible",
    "optimizer.learning_rate=nan": "learning_rate must be a finite number, got nan",
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_that_no_model_can_have(tiny_runs, tmp_path, setting):
    """Catches a traceback of torch, and a training without meaning."""
    with pytest.raises(UserError) as error:
        tiny_runs.train(tmp_path / "run", setting)
    assert SETTINGS[setting] in str(error.value)
    assert not RunFolder(tmp_path / "run").has_config


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("data.path={}/a=b/t.txt", "a=b/t.txt"),
        ("data.path={}/数据/über 😀.txt", "数据/über 😀.txt"),
        ("data.path={}/~a#b.txt", "~a#b.txt"),
        ("data.path=~/t.txt", "t.txt"),
        ('data.path="{}/a,[b].txt"', "a,[b].txt"),
    ],
)
def test_any_path_can_be_given(commands, tiny_runs, tmp_path, argument, name):
    """Catches a path that needs two layers of quotes because it has an umlaut."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("\n\n".join(TEXTS))
    chosen = tiny_runs.overrides(
        f"paths.output_dir={tmp_path / 'run'}", argument.format(tmp_path), "trainer.max_steps=1"
    )
    others = (value for value in chosen if value != f"data.path={tiny_runs.text}")
    command = commands.run("train.py", *others, HOME=str(tmp_path))
    assert command.status == 0, command.stderr.read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config-name=nope"], "--config-path and --config-name lead nowhere (Cannot find primary config 'nope'"),
        (["--config-path=/nope"], "--config-path and --config-name lead nowhere (Primary config directory not found"),
        (["="], "cannot read the argument '=': write group.key=value without blanks around ="),
        (["trainer.max_steps", "=", "30"], "cannot read the argument '=': write group.key=value without blanks"),
        (["--max_steps", "30"], "no option --max_steps; settings are written without dashes"),
        (["--multi-run"], "no option --multi-run; settings are written without dashes, such as multi-run=..."),
        (["README.md"], "cannot read the argument 'README.md': write data.path=README.md, or for evaluate.py runs="),
        (
            ["data=text", "data.path=a,b"],
            "data.path=a,b are values of several runs, which need --multirun",
        ),
        (["data=text", "data.path=/" + "a" * 5000], "File name too long; choose a shorter name"),
    ],
)
def test_arguments_that_hydra_explains_badly(commands, tmp_path, arguments, expected):
    """Catches Hydra's own words for a mistake, and a message of 5,000 characters."""
    command = commands.run("train.py", *arguments, f"paths.output_dir={tmp_path / 'run'}", "tracker=none")
    (line,) = command.error_lines
    assert command.status == 1
    assert expected in line
    assert len(line) < 600


@pytest.fixture(scope="module")
def pretrained(tiny_runs, tmp_path_factory):
    """The export of a run, without its digests, as other programs leave one."""
    run = tiny_runs.train(tmp_path_factory.mktemp("pretrained") / "run", "trainer.max_steps=1")
    (run / "export" / DIGESTS).unlink()
    return run / "export"


def edit(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def edit_weights(export, change):
    weights = load_file(export / "model.safetensors")
    change(weights)
    save_file(weights, export / "model.safetensors", {"format": "pt"})


def as_whole_numbers(weights):
    for name in list(weights):
        if name.endswith("query_key_value.weight"):
            weights[name] = weights[name].to(torch.int8)


CHECKPOINTS = {
    "a list": (
        lambda export: (export / "config.json").write_text("[1]"),
        "config.json holds a list, not the settings",
    ),
    "no JSON": (lambda export: (export / "config.json").write_text("{"), "config.json is no JSON"),
    "fewer layers": (
        lambda export: edit(export / "config.json", num_hidden_layers=1),
        "weights that its config.json has",
    ),
    "more weights": (
        lambda export: edit_weights(export, lambda weights: weights.update({"roformer.extra": torch.ones(1)})),
        "weights that its config.json has no place for, such as roformer.extra",
    ),
    "whole numbers": (lambda export: edit_weights(export, as_whole_numbers), "query_key_value.weight as I8, not as"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_that_do_not_fit(tiny_runs, pretrained, tmp_path, name):
    """Catches half of a model that is dropped, and weights that are read as numbers that they are not."""
    change, expected = CHECKPOINTS[name]
    export = shutil.copytree(pretrained, tmp_path / "export")
    change(export)
    with pytest.raises(UserError) as error:
        tiny_runs.train(tmp_path / "run", f"init_from={export}")
    assert expected in str(error.value)
    assert not RunFolder(tmp_path / "run").has_config


BROKEN_TOKENIZERS = {
    "one token for two": (
        lambda folder: edit(folder / "tokenizer_config.json", mask_token="[PAD]"),
        "uses one token for",
    ),
    "cut": (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot load tokenizer.path="),
}


@pytest.mark.parametrize("name", BROKEN_TOKENIZERS)
def test_tokenizers_that_do_not_fit(pretrained, tmp_path, name):
    """Catches a masked token that counts as padding, and an index error in the middle of a training."""
    change, expected = BROKEN_TOKENIZERS[name]
    folder = shutil.copytree(pretrained, tmp_path / "tokenizer")
    change(folder)
    tokenizer = TOKENIZERS.build({"name": "pretrained", "path": str(folder)})
    with pytest.raises(UserError) as error:
        tokenizer.prepare(None, cache_dir=tmp_path, validation_fraction=0, test_fraction=0)
    assert expected in str(error.value)
