"""Only here because setuptools takes cffi modules from setup() and nowhere else; all else is in pyproject.toml."""

from setuptools import setup

setup(cffi_modules=["native/build.py:ffibuilder"])
