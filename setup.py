"""Only here because setuptools takes C extensions from setup() and nowhere else; all else is in pyproject.toml."""

from glob import glob

from setuptools import Extension, setup

# No module of Python: nbdkit loads it, by the path that importlib knows (native/nbdkit/, connectors/fuse_loop.py).
RECONNECT = Extension(
    "nbdsvc._reconnect",
    sorted(glob("native/nbdkit/*.c")),
    include_dirs=["native"],
    extra_compile_args=["-O2", "-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden"],
    py_limited_api=True,
)

setup(cffi_modules=["native/build.py:ffibuilder"], ext_modules=[RECONNECT])
