"""Arrays on disk that grow row by row."""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


class GrowingArray:
    """An ``.npy`` file whose number of rows is not known yet.

    Args:
        file: a new file, open for writing; a call of ``finish`` completes it.
        dtype: of the array.
        row_shape: of one row; nothing for numbers.
    """

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any], row_shape: tuple[int, ...] = ()) -> None:
        self.rows = 0
        self._file, self._dtype, self._row_shape = file, dtype, row_shape
        self._header()
        self._start = file.tell()

    def append(self, rows: NDArray[Any] | list[int]) -> None:
        """Appends (n, *row_shape) rows."""
        added = np.asarray(rows, dtype=self._dtype).reshape(-1, *self._row_shape)
        self._file.write(added.tobytes())
        self.rows += len(added)

    def finish(self) -> None:
        """Writes the number of rows."""
        self._file.seek(0)
        self._header()
        assert self._file.tell() == self._start  # numpy pads the header so that the number can grow

    def _header(self) -> None:
        shape = (self.rows, *self._row_shape)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
