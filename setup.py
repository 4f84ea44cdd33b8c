"""Puts ``conf/`` into the built package, as ``roformer/conf``. Everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["roformer", "roformer.*"]), "roformer.conf"],
    package_dir={"roformer.conf": "conf"},
    py_modules=["roformer_lab"],
)
