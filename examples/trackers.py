"""Run records as runs of MLflow, and their curves by epoch as event files of TensorBoard.

    pip install mlflow-skinny tensorboardX
    python examples/trackers.py my-runs --mlflow my-mlruns --tensorboard curves

A run that is there is left, so that the same command goes on after the next fits. MLflow takes a folder, a database or
the URI of a server.
"""

import argparse
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fc7.classify import Run, load_runs


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """Return what is a number, and leave out what is not known."""
    known = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return {name: value for name, value in known.items() if math.isfinite(value)}


def epochs(run: Run) -> Iterator[tuple[str, float, int]]:
    """Yield name, value and epoch of each point of a run's curves; the names of folds come first."""
    for row in run.curves:
        fold = f"fold_{row['fold']:.0f}/" if "fold" in row else ""
        for name, value in numbers(row).items():
            if name not in ("epoch", "fold"):
                yield fold + name, value, int(row["epoch"])


def log_runs(runs: list[Run], uri: str) -> int:
    """Write runs into the experiment ``fc7`` of MLflow, and return how many were new."""
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # before the import: folders only where MLflow is told to
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("fc7")
    new = 0
    for run in runs:
        if mlflow.search_runs(filter_string=f"tags.fc7_run = '{run.id}'", max_results=1, output_format="list"):
            continue
        with mlflow.start_run(run_name=run.name, tags={"fc7_run": run.id}):
            low, high = run.metrics["interval"]
            mlflow.log_metrics(numbers(run.metrics | {"accuracy_low": low, "accuracy_high": high}))
            mlflow.log_metrics({f"seconds_{name}": value for name, value in run.seconds.items()})
            mlflow.log_params({"head": run.head, "trainable": run.trainable, **run.hyperparameters})
            for name, value, epoch in epochs(run):
                mlflow.log_metric(name, value, step=epoch)
            mlflow.log_dict(run.to_dict(), "record.json")
        new += 1
    return new


def write_events(runs: list[Run], folder: Path) -> int:
    """Write a folder with an event file for each run that has epochs, and return how many were new."""
    from tensorboardX import SummaryWriter

    new = 0
    for run in runs:
        place = folder / run.id[:16]
        if run.curves and not place.exists():
            with SummaryWriter(str(place)) as writer:
                writer.add_text("run", run.name)
                for name, value, epoch in epochs(run):
                    writer.add_scalar(name, value, epoch)
            new += 1
    return new


def main() -> None:
    """Hand on what the folder has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--mlflow", metavar="URI")
    parser.add_argument("--tensorboard", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    runs = load_runs(arguments.records)
    if arguments.mlflow:
        print(f"{log_runs(runs, arguments.mlflow)} of {len(runs)} runs are new: {arguments.mlflow}")
    if arguments.tensorboard:
        print(f"curves of {write_events(runs, arguments.tensorboard)} runs are new: {arguments.tensorboard}")


if __name__ == "__main__":
    main()
