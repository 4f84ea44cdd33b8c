"""Tiny runs."""
