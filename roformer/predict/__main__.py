"""``roformer-predict``: labels, values, entities, answers or vectors for new texts, by the model of a run.

roformer-predict outputs/classification-docs_topics-rope-seed1 texts.txt            # a text per line; CSV to stdout
roformer-predict outputs/my-run reviews.csv --text-column review --output labels.csv
cat texts.txt | roformer-predict outputs/my-run/export - --format jsonl
roformer-predict outputs/my-tagger texts.txt --output entities.jsonl
roformer-predict outputs/my-reader questions.csv --output answers.csv               # columns question and context
roformer-predict outputs/mlm-docs-rope-seed1 texts.txt --encode --output vectors.npy
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from roformer.cli.arguments import ArgumentParser
from roformer.cli.command import silence_libraries
from roformer.cli.errors import one_line_errors
from roformer.errors import UserError, is_out_of_memory
from roformer.extras import naming_extras

if TYPE_CHECKING:
    from roformer.predict.export import Export

_CHUNK = 1024  # texts held at once
_SHORTEST = 8  # tokens: [CLS], and of three texts one token and a [SEP] each


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Returns the arguments of the command line."""
    parser = ArgumentParser(
        prog="roformer-predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the output folder of a finished run, or an export")
    add("texts", metavar="TEXTS", help="a .txt file (a text per line), a .csv, .tsv, .jsonl or .parquet table, or -")
    add("--text-column", help="columns of the table, with commas; otherwise those of the run, or text")
    add("--encoding", help="of text files and standard input, such as gb18030; otherwise UTF-8")
    add("--delimiter", help="of .csv and .tsv, such as semicolon; otherwise a comma or a tab")
    add("--output", type=Path, help="a .csv, .jsonl or .npy file; otherwise predictions go to standard output")
    add("--overwrite", action="store_true", help="replace the output if it exists")
    add("--format", choices=("csv", "jsonl"), help="of predictions; otherwise by the name of the output, or csv")
    add("--encode", action="store_true", help="write the mean hidden states of each text (.npy), not predictions")
    add("--max-length", type=int, help="tokens read of a text, special tokens included; otherwise as in training")
    add("--batch-tokens", type=int, default=8192, help="tokens of a forward pass (8192)")
    add("--precision", choices=("auto", "bf16", "fp32"), help="otherwise that of the run")
    return parser.parse_args(arguments)


def predict(arguments: argparse.Namespace) -> None:
    """Writes what the model says about every text, in the order of the texts.

    Raises:
        UserError: for arguments that do not fit each other, the model or the texts.
    """
    from roformer.predict import writers  # seconds of imports, which --help need not wait for
    from roformer.predict._base import Reading
    from roformer.predict.export import Export
    from roformer.predict.predictors import predictor_of
    from roformer.predict.scorer import Encoder

    output = arguments.output
    _check(arguments)
    writers.check_output(output, overwrite=arguments.overwrite)
    silence_libraries()
    export = Export(arguments.run)
    reading = Reading(arguments.max_length, arguments.precision, arguments.batch_tokens)
    if arguments.encode:
        chunks, encoder = _chunks(export, arguments), Encoder(export, reading)
        with writers.vectors(output, export.stored["hidden_size"]) as array:
            for chunk in chunks:
                array.append(encoder.vectors(chunk))
        return
    kind = predictor_of(export)
    form = _form(arguments, kind.formats)
    chunks, predictor = _chunks(export, arguments), kind(export, reading)
    with writers.rows(output, form) as writer:
        for chunk in chunks:
            writer.write(predictor.statements(chunk))


def _check(arguments: argparse.Namespace) -> None:
    """Raises ``UserError`` for options that contradict each other, or are out of range."""
    if arguments.batch_tokens < 1:
        raise UserError(f"--batch-tokens must be at least 1, got {arguments.batch_tokens}")
    if arguments.max_length is not None and arguments.max_length < _SHORTEST:
        raise UserError(f"--max-length must be at least {_SHORTEST}, got {arguments.max_length}")
    suffix = arguments.output.suffix.lower() if arguments.output else ""
    if arguments.encode and (suffix != ".npy" or arguments.format):
        raise UserError("--encode writes an array: give --output with the name of an .npy file, and no --format")


def _form(arguments: argparse.Namespace, formats: Sequence[str]) -> str:
    """Returns the format of predictions; raises ``UserError`` where the output has another name, or cannot hold it.

    Args:
        arguments: of the command line.
        formats: those that can hold a prediction, the default first.
    """
    suffix = arguments.output.suffix.lower() if arguments.output else ""
    form = str(arguments.format or ("jsonl" if suffix == ".jsonl" else "csv" if suffix == ".csv" else formats[0]))
    if form not in formats:
        raise UserError(
            f"{arguments.run} finds entities, several per text, which a row of {form} cannot hold; write {formats[0]} "
            f"(--format {formats[0]}, --output *.{formats[0]})"
        )
    if suffix not in ("", f".{form}"):
        raise UserError(f"--output={arguments.output} would hold {form}; name it *.{form}, or choose another --format")
    return form


def _chunks(export: "Export", arguments: argparse.Namespace) -> Iterator[list[tuple[str, ...]]]:
    """Returns the texts in portions, of which the first has been read.

    Raises:
        UserError: if there are none, or the model reads other ones.
    """
    from roformer.data.sources import InputFormat, is_table, read_inputs

    asked, has_columns = arguments.text_column, is_table(Path(arguments.texts))
    if asked and not has_columns:
        raise UserError(f"--text-column={asked} is for tables, and {arguments.texts} is none; leave it out")
    columns = asked.split(",") if asked else export.columns if has_columns else ["text"]
    if not arguments.encode:
        export.check_texts(columns)
    inputs = read_inputs(arguments.texts, columns, InputFormat(arguments.encoding, arguments.delimiter))
    first = list(islice(inputs, _CHUNK))
    if not first:
        raise UserError(f"{arguments.texts} has no texts; give a file with one line or row per text")
    return _with_progress(chain([first], iter(lambda: list(islice(inputs, _CHUNK)), [])))


def _with_progress(chunks: Iterable[list[tuple[str, ...]]]) -> Iterator[list[tuple[str, ...]]]:
    """Yields portions, and counts those that are done; says at the end how many texts were blank."""
    from roformer.data.tokenize import progress_bar

    blank = 0
    with progress_bar() as progress:
        bar = progress.add_task("predicting", total=None)
        for chunk in chunks:
            yield chunk
            blank += sum(not all(texts) for texts in chunk)
            progress.advance(bar, len(chunk))
    if blank:
        print(f"warning: {blank:,} texts are blank; the model has read nothing but special tokens", file=sys.stderr)


@one_line_errors
def main() -> None:
    try:
        with naming_extras():
            predict(parse())
    except BrokenPipeError:  # the reader of the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted; no file was written", file=sys.stderr)
        sys.exit(130)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise UserError("out of memory; lower --batch-tokens or --max-length") from error


if __name__ == "__main__":
    main()
