"""Comparison results (plain JSON) -> tables, figures and one self-contained page; imports no torch."""
