"""Corpora (one class per kind of source), their token cache, and the packing of documents into rows."""

from roformer.data import docs, docs_topics, glue, hub, local, mixture, parallel, synthetic
from roformer.data._base import SOURCES, SPLITS, Document, Source

__all__ = [
    "SOURCES",
    "SPLITS",
    "Document",
    "Source",
    "docs",
    "docs_topics",
    "glue",
    "hub",
    "local",
    "mixture",
    "parallel",
    "synthetic",
]
