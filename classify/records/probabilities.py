"""The probabilities beside a run record: of each image its most probable classes, in a file of NumPy arrays."""

import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...cache.files import open_regular
from ...errors import DataError
from ..arrays import Floats, Positions

KEPT = 50  # classes of an image: all of them in most data sets, and a bound on the file in the others
_SLACK = 10_000  # bytes of a file besides its numbers
_DTYPES = {"classes": ("uint16", "uint32"), "probability": ("float32",), "label_probability": ("float32",)}

Single = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Probabilities:
    """The probabilities of a run, in memory or in a file that is read when they are first used.

    The file is a NumPy ``.npz`` with the arrays of :attr:`arrays`. Two of them are equal if their bytes are.

    Attributes
    ----------
    sha256
        Of the bytes of the file.
    source
        These bytes, or the path of the file.
    images, labels
        Number of images, and of classes.
    """

    sha256: str
    source: bytes | Path = field(compare=False, repr=False)
    images: int
    labels: int

    @classmethod
    def of(cls, probability: Floats, y: Positions) -> Self:
        """Keep the :data:`KEPT` most probable classes of each image, the first of equals first.

        Parameters
        ----------
        probability
            ``(n, classes)``.
        y
            The true classes, ``(n,)``.
        """
        n, labels = probability.shape
        order = np.argsort(-probability, axis=1, kind="stable")[:, :KEPT]
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            classes=order.astype(np.uint16 if labels <= 2**16 else np.uint32),
            probability=np.take_along_axis(probability, order, axis=1).astype(np.float32),
            label_probability=probability[np.arange(n), y].astype(np.float32),
        )
        data = buffer.getvalue()
        return cls(hashlib.sha256(data).hexdigest(), data, n, labels)

    @cached_property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of the file.

        ``classes`` ``(n, k)`` uint16 or uint32, positions of the k most probable classes, the most probable first;
        ``probability`` ``(n, k)`` float32, theirs; ``label_probability`` ``(n,)`` float32, that of the true class.

        Raises
        ------
        DataError
            The file is missing, altered, or not of this record.
        """
        data = self.data
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                arrays = {name: self._array(archive, name) for name in _DTYPES}
            if int(arrays["classes"].max(initial=0)) >= self.labels:
                raise ValueError("a class beyond those of the record")
            numbers = arrays["probability"], arrays["label_probability"]
            if not all(((array >= 0) & (array <= 1)).all() for array in numbers):
                raise ValueError("numbers that are not from 0 to 1")
        except (ValueError, KeyError, RuntimeError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
            name = self.source if isinstance(self.source, Path) else "The record"
            raise DataError(f"{name} does not hold the probabilities of its record: {error}.") from error
        return arrays

    @property
    def data(self) -> bytes:
        """The bytes of the file; raises DataError if it is missing, or altered."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            with open_regular(self.source) as file:
                data = file.read(self._most + 1)
        except OSError as error:
            raise DataError(f"{self.source} cannot be read: {error.strerror or error}.") from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise DataError(f"{self.source} is not the file that its record was written with.")
        return data

    @property
    def confidence(self) -> Single:
        """The largest probability of each image, which is that of the predicted class, ``(n,)``."""
        return np.asarray(self.arrays["probability"][:, 0])

    def matrix(self) -> Single:
        """Return ``(n, classes)``, with 0 for the classes that are not kept."""
        matrix = np.zeros((self.images, self.labels), np.float32)
        np.put_along_axis(matrix, self.arrays["classes"].astype(np.intp), self.arrays["probability"], axis=1)
        return matrix

    @property
    def _kept(self) -> int:
        return min(self.labels, KEPT)

    @property
    def _most(self) -> int:
        """The largest size of the file: its numbers, which may be incompressible."""
        return self.images * (8 * self._kept + 4) + _SLACK

    def _array(self, archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
        """Read one array. Its sizes are known beforehand, so a hostile file cannot ask for more memory."""
        member = archive.getinfo(f"{name}.npy")
        if member.file_size > self._most:
            raise ValueError(f"{name} has {member.file_size} bytes")
        content = io.BytesIO(archive.read(member))
        if np.lib.format.read_magic(content) != (1, 0):
            raise ValueError(f"{name} is not an array of the first version of the format")
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(content)
        expected = (self.images,) if name == "label_probability" else (self.images, self._kept)
        if shape != expected or columns_first or dtype.name not in _DTYPES[name]:
            raise ValueError(f"{name} is {shape} {dtype}, not {expected} {_DTYPES[name][0]}")
        return np.frombuffer(content.read(), dtype).reshape(shape)
