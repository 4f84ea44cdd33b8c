"""Corpora: sources of documents, their splits and token cache, and the packing of documents into rows."""

from roformer.data.sources import SOURCES, SPLITS, Document, Source

__all__ = ["SOURCES", "SPLITS", "Document", "Source"]
