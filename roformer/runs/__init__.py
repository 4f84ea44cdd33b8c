"""Runs on disk: the layout, status and lock of a run's folder, its history, provenance and metrics."""

from roformer.runs.folder import RunFolder

__all__ = ["RunFolder"]
