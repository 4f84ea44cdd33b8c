"""Numeric kernels without an import of the rest of the package."""
