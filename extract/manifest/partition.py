"""Parts of a data set, for processes that a scheduler starts and that know nothing of each other.

A file's path in the data set alone decides its part. The order in which a process lists the files, the mount where it
sees them and files that came later do not matter: the parts 1/N to N/N are disjoint and together they are everything.
Why not by key: a file must be read to know its key, and each of N processes would read all files. The price: copies of
one image under two names may be computed twice. Readers find one row for each image, because rows have keys.
"""

import hashlib
import os
from collections.abc import Mapping
from typing import NamedTuple

from ...errors import UsageError

AUTO = "auto"

_ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")


class Partition(NamedTuple):
    """One part of several. ``number`` counts from 1 to ``of``."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Partition":
        """Read ``3/8``."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UsageError(
                f"--shard {text} is not a part: write I/N with I from 1 to N, or auto to take it from the scheduler."
            )
        return cls(int(number), int(of))

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> "Partition":
        """Return the part of this process among those that a scheduler started.

        That is: which task of a Slurm array (SLURM_ARRAY_TASK_ID, wherever the array begins), and within it which rank
        (RANK of WORLD_SIZE, as torchrun has it, else SLURM_PROCID of the step that srun started).

        Parameters
        ----------
        environment
            Instead of this process's.
        """
        environment = _environment() if environment is None else environment
        array, rank = _of_array(environment), _of_ranks(environment) or _of_step(environment)
        if not array and not rank:
            raise UsageError(
                "--shard auto finds neither SLURM_ARRAY_TASK_ID, nor SLURM_PROCID, nor RANK and WORLD_SIZE. "
                "Name the part: --shard I/N."
            )
        (outer, outers), (inner, inners) = array or (0, 1), rank or (0, 1)
        return cls(outer * inners + inner + 1, outers * inners)

    def has(self, path: str) -> bool:
        """Return whether a path of the data set is in this part."""
        digest = hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def _environment() -> dict[str, str]:
    values = {
        "RANK": os.environ.get("RANK"),
        "WORLD_SIZE": os.environ.get("WORLD_SIZE"),
        "SLURM_ARRAY_TASK_ID": os.environ.get("SLURM_ARRAY_TASK_ID"),
        "SLURM_ARRAY_TASK_MIN": os.environ.get("SLURM_ARRAY_TASK_MIN"),
        "SLURM_ARRAY_TASK_MAX": os.environ.get("SLURM_ARRAY_TASK_MAX"),
        "SLURM_ARRAY_TASK_COUNT": os.environ.get("SLURM_ARRAY_TASK_COUNT"),
        "SLURM_ARRAY_TASK_STEP": os.environ.get("SLURM_ARRAY_TASK_STEP"),
        "SLURM_PROCID": os.environ.get("SLURM_PROCID"),
        "SLURM_NTASKS": os.environ.get("SLURM_NTASKS"),
        "SLURM_STEP_ID": os.environ.get("SLURM_STEP_ID"),
        "SLURM_STEP_NUM_TASKS": os.environ.get("SLURM_STEP_NUM_TASKS"),
    }
    return {name: value for name, value in values.items() if value}


def _of_array(environment: Mapping[str, str]) -> tuple[int, int] | None:
    if _ARRAY[0] not in environment:
        return None
    number, first, last, count = (_number(environment, name) for name in _ARRAY)
    step = _number(environment, "SLURM_ARRAY_TASK_STEP") if "SLURM_ARRAY_TASK_STEP" in environment else 1
    if step < 1 or last != first + (count - 1) * step or number not in range(first, last + 1, step):
        raise UsageError(
            f"--shard auto needs a Slurm array of evenly spaced tasks; here are {count} from {first} to {last} in "
            f"steps of {step}. Name the part: --shard I/N."
        )
    return (number - first) // step, count


def _of_ranks(environment: Mapping[str, str]) -> tuple[int, int] | None:
    names = ("RANK", "WORLD_SIZE")
    return _rank(environment, *names) if any(name in environment for name in names) else None


def _of_step(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the rank in a Slurm step. A batch script has SLURM_PROCID and SLURM_NTASKS, too, but runs once."""
    if "SLURM_PROCID" not in environment:
        return None
    if "SLURM_STEP_NUM_TASKS" in environment:
        return _rank(environment, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    if "SLURM_STEP_ID" not in environment and _number(environment, "SLURM_NTASKS", "1") > 1:
        raise UsageError(
            f"--shard auto: the job has {environment['SLURM_NTASKS']} tasks, but this process was not started by srun, "
            "so the others would never run. Write: srun fc7 extract ..."
        )
    return _rank(environment, "SLURM_PROCID", "SLURM_NTASKS") if "SLURM_STEP_ID" in environment else (0, 1)


def _rank(environment: Mapping[str, str], rank: str, size: str) -> tuple[int, int]:
    number, count = _number(environment, rank), _number(environment, size)
    if number >= count:
        raise UsageError(f"--shard auto: {rank} is {number}, {size} {count}. Name the part: --shard I/N.")
    return number, count


def _number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    text = environment.get(name, default)
    if not text.isdecimal():
        raise UsageError(f"--shard auto: {name} is {text!r}, not a number. Name the part: --shard I/N.")
    return int(text)
