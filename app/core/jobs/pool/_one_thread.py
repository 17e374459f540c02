"""Keeps numerical libraries to one thread in the process that imports this, and in those that it starts: the pool has a process per core.

The pool's processes import it before anything else, because these libraries look when they are loaded, and never again. What the
operator has set stays. Not to be imported by the worker.
"""

import os

for _name in (
    "BLIS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
):
    os.environ.setdefault(_name, "1")
