"""Every error that fc7 raises on purpose.

The message says what, with which values, and what to do next. The exit code is 1 where a class names no other.
"""


class FC7Error(Exception):
    """Base of all errors."""

    exit_code = 1


class UsageError(FC7Error):
    """A name or an option that fc7 does not know."""

    exit_code = 2


class DataError(FC7Error):
    """A folder, csv or .h5 that cannot be used."""


class LeakageError(DataError):
    """The same image is on both sides of a split."""

    exit_code = 4


class ImageRejected(FC7Error):
    """One file is not an acceptable image: always accounted, never fatal; the message is the recorded reason."""


class ImageUnreadable(FC7Error, OSError):
    """One file cannot be looked at now, for a reason outside its bytes: accounted, never fatal, and never recorded.

    Parameters
    ----------
    reason
        What is missing, and what to do.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.strerror = reason


class WeightsError(FC7Error):
    """Parameters are absent, damaged, or not the ones asked for."""


class CacheError(FC7Error):
    """A cache folder cannot be read or written."""


class CorruptRecipe(CacheError):
    """A recipe's description is lost or damaged; `fc7 cache repair` restores it from a shard."""


class CorruptShard(CacheError):
    """A shard's bytes are not the ones that were committed; it is quarantined, and its rows are computed again."""


class BundleError(FC7Error):
    """A bundle cannot be trusted or does not fit what it is used on."""


class ExportError(FC7Error):
    """The format cannot hold the bundle as one network, or the network answers differently."""


class EngineError(FC7Error):
    """A cluster cannot be used, or work on it does not finish; committed rows are kept."""


class MissingExtra(FC7Error, ImportError):
    """An optional dependency is not installed.

    Parameters
    ----------
    package
        What could not be imported.
    extra
        The extra of fc7 that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{package} is not installed. Install it with: pip install 'fc7[{extra}]' (in a checkout: '.[{extra}]')"
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Be the same in another process."""
        return type(self), (self.package, self.extra)


class Interrupted(FC7Error):
    """Stopped by the user; finished work is kept."""

    exit_code = 130
