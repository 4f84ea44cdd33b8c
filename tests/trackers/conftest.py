"""Tiny runs, in this process and in others."""
