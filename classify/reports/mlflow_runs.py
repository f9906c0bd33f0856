"""Run records as runs of MLflow, where a person names a place for them: nothing is sent by itself."""

import importlib.util
import os
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ...cache.urls import without_secrets
from ...errors import DataError, FC7Error, MissingExtra
from ...extract.text import first_line, plain
from ..records.runs import Run
from .figures import figures, parameters

EXPERIMENT = "fc7"
_TAG = "fc7.run"  # holds a record's id
_DATABASE = re.compile(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?://")
_LONGEST = 500  # letters of a parameter that every store of MLflow takes
_MOST = 1000  # figures in a call, and
_MOST_PARAMETERS = 100  # parameters, as MLflow's server allows


def log_runs(runs: Sequence[Run], uri: str) -> int:
    """Write runs into an experiment of MLflow, and return how many were new: a run that is there is left.

    Each has its figures, curves by epoch, settings as parameters, and the record as the artifact ``record.json``.

    Parameters
    ----------
    uri
        A folder, or the URI of a tracking server or database, as MLflow takes it. The experiment is
        ``$MLFLOW_EXPERIMENT_NAME``, else ``fc7``.

    Raises
    ------
    MissingExtra
        MLflow is not installed.
    DataError
        The place refuses.
    """
    if not uri.strip():
        raise DataError("MLflow needs a place for the runs, and none is named. Name a folder, as in: --mlflow mlruns")
    try:
        client = _client(uri)
        named = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = client.get_experiment_by_name(named)
        identity = experiment.experiment_id if experiment else client.create_experiment(named)
        known = {run.data.tags.get(_TAG) for run in _runs(client, identity)}
        fresh = [run for run in runs if run.id not in known]
        for run in fresh:
            _log(client, identity, run)
    except FC7Error:
        raise
    except Exception as error:  # MLflow's, those of its stores, databases and of the network
        where, reason = without_secrets(uri), without_secrets(str(error)) or type(error).__name__
        raise DataError(
            f"MLflow at {where} does not take the runs: {first_line(Exception(reason))}. Name a folder, or a server "
            "that answers."
        ) from error
    return len(fresh)


def _client(uri: str) -> Any:
    # Before the import, which begins to count users. And MLflow writes to folders only if it is told to.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    try:
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise MissingExtra("mlflow", "mlflow") from error
    if _DATABASE.match(uri) and importlib.util.find_spec("sqlalchemy") is None:
        raise DataError(
            f"The extra fc7[mlflow] has no databases, and {without_secrets(uri)} is one. Name a folder or a server, or "
            "install all of MLflow: pip install mlflow"
        )
    return MlflowClient(tracking_uri=uri)


def _runs(client: Any, experiment: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _log(client: Any, experiment: str, run: Run) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1000)
    # Names may hold bytes that are no Unicode; record.json has them as they are.
    tags = {"fc7.data": run.data.get("name") or "", "fc7.notes": "; ".join(run.notes)}
    tags = {_TAG: run.id} | {name: plain(text)[:_LONGEST] for name, text in tags.items()}
    made = client.create_run(experiment, run_name=plain(run.name), tags=tags).info.run_id
    try:
        measured = [Metric(one.name, one.value, now, one.step) for one in figures(run)]
        for start in range(0, len(measured), _MOST):
            client.log_batch(made, metrics=measured[start : start + _MOST])
        chosen = [Param(name, plain(value)[:_LONGEST]) for name, value in parameters(run).items()]
        for start in range(0, len(chosen), _MOST_PARAMETERS):
            client.log_batch(made, params=chosen[start : start + _MOST_PARAMETERS])
        client.log_dict(made, run.to_dict(), "record.json")
    except BaseException:
        client.delete_run(made)  # so that it is written whole the next time
        raise
    client.set_terminated(made)
