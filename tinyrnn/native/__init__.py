"""What compiled code is built from: Numba and LLVM, memory, products, functions, several threads.

Only the modules of this package import Numba, and only what runs compiled code imports them (apart from
`files`, which knows nothing of Numba).
"""

import numpy as np

LINE = 64  # bytes of a cache line
WRITERS = 32  # ways to write that compiled code knows apart; a step that needs more uses some twice


def own(a: np.ndarray) -> np.ndarray:
    """Return an array in order and writeable: of the one type that loops are compiled for."""
    a = np.ascontiguousarray(a)
    return a if a.flags.writeable else a.copy()
