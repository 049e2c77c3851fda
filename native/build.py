"""Builds the C core into nbdsvc._native (cffi API mode, one abi3 extension).

Every part of the core is a pair in this folder: NAME.c with its NAME.h, and, where Python calls it, NAME.cdef with the
declarations that cffi is to wrap. A new part needs no line here.
"""

import os
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
LIBRARIES = ["deflate", "zstd", "pthread", "dl"]

ffibuilder = FFI()
for cdef in sorted(HERE.glob("*.cdef")):
    ffibuilder.cdef(cdef.read_text())
ffibuilder.set_source(
    "nbdsvc._native",
    "\n".join(f'#include "{cdef.stem}.h"' for cdef in sorted(HERE.glob("*.cdef"))),
    # setuptools wants sources relative to setup.py, which stands one folder up.
    sources=[os.path.relpath(source, HERE.parent) for source in sorted(HERE.glob("*.c"))],
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
