"""Sources of documents, one file each. The file's name is the name in ``conf/data/``."""

from roformer.data.sources._base import SOURCES, SPLITS, Document, Source, Span
from roformer.data.sources._inputs import STDIN, read_inputs, text_columns
from roformer.data.sources._opening import InputFormat
from roformer.data.sources._synthetic import LabeledWords, SyntheticSource
from roformer.data.sources._tables import is_table
from roformer.data.sources.questions import QUESTION_COLUMNS

SOURCES.discover(__path__, __name__)

__all__ = [
    "QUESTION_COLUMNS",
    "SOURCES",
    "SPLITS",
    "STDIN",
    "Document",
    "InputFormat",
    "LabeledWords",
    "Source",
    "Span",
    "SyntheticSource",
    "is_table",
    "read_inputs",
    "text_columns",
]
