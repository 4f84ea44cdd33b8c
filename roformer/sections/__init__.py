"""What is measured, one folder each, found by discovery.

``<name>/__init__.py`` turns records of runs into a summary, tables and figures, and imports no torch;
``<name>/measure.py`` measures one run.
"""

from importlib import import_module
from pkgutil import iter_modules

from roformer.sections.section import SECTIONS, Nothing, Section, in_page_order, summary_kinds

for _module in iter_modules(__path__):
    if _module.ispkg:
        import_module(f"{__name__}.{_module.name}")

__all__ = ["SECTIONS", "Nothing", "Section", "in_page_order", "summary_kinds"]
