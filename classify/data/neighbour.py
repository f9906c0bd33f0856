"""A neighbour: an image near another one."""

from typing import Any, NamedTuple


class Neighbour(NamedTuple):
    """An image near another one: its path, the cosine of their embeddings, and its label, which may be empty."""

    path: str
    score: float
    label: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return self._asdict() | {"score": round(self.score, 6)}

    @classmethod
    def of(cls, path: str, cosine: float, label: str) -> "Neighbour":
        """Return a neighbour from a cosine with its rounding errors."""
        return cls(str(path), min(max(float(cosine), -1.0), 1.0), str(label))
