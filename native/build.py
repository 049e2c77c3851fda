"""Builds the C core into nbdsvc._native (cffi API mode, one abi3 extension).

Every part of the core is a pair in a folder below this one: NAME.c with its NAME.h, included as "FOLDER/NAME.h", and,
where Python calls it, NAME.cdef with the declarations that cffi is to wrap. A new part needs no line here.

The folder nbdkit is no part of the core: nbdkit loads its filter, which setup.py builds.
"""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
SOURCES = [source for source in sorted(HERE.glob("*/*.c")) if source.parent.name != "nbdkit"]
LIBRARIES = ["deflate", "zstd", "pthread", "dl"]

ffibuilder = FFI()
# By name, not by folder: a declaration stands before its use in another file.
_CDEFS = sorted(HERE.glob("*/*.cdef"), key=lambda path: path.name)
for cdef in _CDEFS:
    ffibuilder.cdef(cdef.read_text())
ffibuilder.set_source(
    "nbdsvc._native",
    "\n".join(f'#include "{cdef.parent.name}/{cdef.stem}.h"' for cdef in _CDEFS),
    # setuptools wants sources relative to setup.py, which stands one folder up.
    sources=[os.path.relpath(source, HERE.parent) for source in SOURCES],
    include_dirs=[str(HERE)],
    libraries=LIBRARIES,
    extra_compile_args=[
        "-O3",
        "-std=gnu11",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Wno-missing-field-initializers",
    ],
)
