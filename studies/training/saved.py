"""A trained model on disk: its weights, what it is in ``model.json``, and a ``load.py`` that evaluates it again.

Weights are those that are evaluated, with BatchNorm's averages, in the format of safetensors. Nothing that is read here
executes code from a file but the workload's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from search_spaces.errors import UserError
from studies.data import Data
from studies.training.batches import evaluate_test, evaluate_validation, on
from studies.workloads import TrainingFunction, Workload, load, named, resolve
from studies.workloads._base import leaves
from studies.workloads._load import seeded
from studies.workloads._pickled import MAIN
from studies.workloads.user_errors import blaming

if TYPE_CHECKING:
    from studies.training.run import Run

WEIGHTS, OPTIMIZER, DESCRIPTION, SCRIPT = "model.safetensors", "optimizer.pt", "model.json", "load.py"

_FORMAT = "sofim-studies model 1"
_LOAD = '''"""Load the model beside this file and print its metric again: python load.py [DIRECTORY of data sets]."""
from studies.training.saved import load_beside
saved = load_beside(__file__)
print(saved)
'''


@dataclass(frozen=True, slots=True)
class SavedModel:
    """A trained model that was saved, and what it gives now.

    Attributes:
        model: With its weights, in evaluation mode.
        description: What ``model.json`` says: workload, optimizer, arguments, seed, epoch, intervals, versions.
        value: Of the workload's metric on validation data, or on training data for a metric of the optimization.
        test: The metric on test data (the test loss for a metric of the optimization); ``None`` where there are none.
    """

    model: nn.Module
    description: Mapping[str, Any]
    value: float
    test: float | None = None

    def __str__(self) -> str:
        of, metric = self.description, self.description["metric"]
        on_training = metric["split"] == "train"
        now = {f"{'training' if on_training else 'validation'} {metric['name']}": (self.value, metric.get("value"))}
        if self.test is not None:
            now[f"test {'loss' if on_training else metric['name']}"] = (self.test, metric.get("test"))
        told = (
            f"{name} {value!r}" + ("" if before in (value, None) else f" ({before!r} when it was saved)")
            for name, (value, before) in now.items()
        )
        of_run = f"{of['optimizer']}, seed {of['seed']}, epoch {of['epoch']} of {of['epochs']}"
        return f"{of['workload']}, {of_run}: {', '.join(told)}"


def load_model(
    directory: str | Path,
    *,
    data: Path | None = None,
    workload: str | Workload | Callable[[], Workload] | None = None,
) -> SavedModel:
    """Load a model that ``--save`` wrote, and evaluate it.

    On the processor that it was saved on, with the same versions, a CPU gives the same numbers to the last digit.

    Args:
        directory: Where it is.
        data: Directory of the data sets; ``None`` for the usual places.
        workload: That it was trained on, where it is not found by the name that it had: of a notebook's cell, say.

    Raises:
        UserError: There is none, a file or the workload is another than it was, or data are missing.
    """
    directory = Path(directory)
    description = _described(directory)
    weights = _content(directory / WEIGHTS, description["files"][WEIGHTS])
    found = resolve(_named(directory, description) if workload is None else _name(workload))
    if isinstance(found, TrainingFunction):
        raise UserError(f"{directory}: workload {found.name} is a training function now, of which no model is known")
    with blaming(f"workload {found.name}: load", found.load, found.place):
        examples = load(found, data, description["split"])
    return evaluated(description, weights, found, examples)


def load_beside(script: str) -> SavedModel:
    """Load the model in the directory of a script, and end the process where that is a mistake: one line, code 2."""
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    try:
        return load_model(Path(script).resolve().parent, data=data)
    except UserError as error:
        print(f"{script}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _name(workload: str | Workload | Callable[[], Workload]) -> str:
    return workload if isinstance(workload, str) else named(workload)


def _named(directory: Path, description: Mapping[str, Any]) -> str:
    """Return the name of the workload, unless it was defined where no other process finds it."""
    name = str(description["workload"])
    module, _, attribute = name.partition(":")
    if module == MAIN and not hasattr(sys.modules[MAIN], attribute):
        raise UserError(
            f"workload {name}: was defined in a notebook or a script; give it here too: "
            f"studies.load_model({str(directory)!r}, workload={attribute})"
        )
    return name


def exported(run: Run, *, optimizer_state: bool) -> tuple[bytes, bytes | None]:
    """Return the weights of a run as they are evaluated, and the optimizer's state of the same moment if it is wanted.

    Raises:
        UserError: The model or the optimizer holds something else than tensors and plain values.
    """
    with run.evaluated():
        weights = _packed(run.workload.name, run.model)
        if not optimizer_state:
            return weights, None
        buffer = io.BytesIO()
        try:
            torch.save(run.optimizer.state_dict(), buffer)
            torch.load(io.BytesIO(buffer.getvalue()), weights_only=True, map_location="cpu")
        except Exception as error:  # whatever the state holds may raise anything
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(
                f"optimizer {run.spec.key}: its state cannot be saved as tensors and plain values ({reason}); leave "
                "out --save-optimizer"
            ) from None
        return weights, buffer.getvalue()


def check_model(workload: Workload | TrainingFunction) -> None:
    """Refuse a workload whose model cannot be saved, before anything is trained.

    Raises:
        UserError: Its state is not of tensors alone, or nobody knows the model.
    """
    if isinstance(workload, TrainingFunction):
        raise UserError(
            f"workload {workload.name}: is a training function, whose model nobody else knows; leave out --save, and "
            "have the function write it"
        )
    with seeded():
        model = workload.model()
    if any(nn.parameter.is_lazy(tensor) for tensor in model.state_dict().values()):
        return  # they get their shapes in training
    try:
        _packed(workload.name, model)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"workload {workload.name}: its model cannot be saved as safetensors: "
            f"{type(error).__name__}: {' '.join(str(error).split())}; leave out --save"
        ) from None


def check_free(directory: Path) -> None:
    """Make a directory for a model, and refuse one that cannot be written or has files of these names by others.

    Raises:
        UserError: It cannot be used.
    """
    there = [name for name in (WEIGHTS, OPTIMIZER, DESCRIPTION, SCRIPT) if (directory / name).exists()]
    try:
        if there:
            _described(directory)
    except UserError:
        raise UserError(
            f"--save {directory}: has a file {there[0]} that sofim did not write, and saving would replace it; name "
            "another directory"
        ) from None
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass


def evaluated(description: Mapping[str, Any], weights: bytes, workload: Workload, data: Any) -> SavedModel:
    """Return a model with its weights, and what it gives on validation data, and on test data if there are any.

    Args:
        description: What it is; of a model that was saved, with ``data``, the checksum of what it was evaluated on.
        weights: As of `exported`.
        workload: That it was trained on.
        data: The workload's.

    Raises:
        UserError: The workload is another than it was: its metric, its model or its data.
    """
    what, metric = f"workload {workload.name}", description["metric"]
    if (workload.metric.name, workload.metric.split) != (metric["name"], metric["split"]):
        raise UserError(f"{what}: its metric is {workload.metric.name}, and the model was saved by {metric['name']}")
    if description.get("data", "") not in ("", checksum_of(workload, data)):
        raise UserError(f"{what}: its data are not those that the model was evaluated on when it was saved")
    with seeded(), blaming(f"{what}: model", workload.model, workload.place):
        model = workload.model()
    try:
        model.load_state_dict(safetensors.torch.load(weights))
    except (RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{what}: its model is not the one whose weights were saved ({reason})") from None
    device = torch.device("cuda" if description["on_gpu"] and torch.cuda.is_available() else "cpu")
    model, data, amp = model.to(device), on(data, device), bool(description["amp"])
    with _one_thread(device), blaming(f"{what}: evaluating its model", workload.model, workload.place):
        _, value = evaluate_validation(workload, model, data, amp=amp)
        test = evaluate_test(workload, model, data, amp=amp)[1] if workload.is_tested(data) else None
    return SavedModel(model.eval(), description, value, test)


def checksum_of(workload: Workload, data: Any) -> str:
    """Return what tells the examples that the metric is taken on from others; "" where they are no tensors or arrays.

    An evaluation of the workload's own may look at all of them in what ``load`` returns, but for a test part.
    """
    if isinstance(data, Data):
        split = data.train if workload.metric.split == "train" else data.validation
        data = [split.inputs, split.targets]
    arrays = [array for leaf in leaves(data) for array in _arrays(leaf)]
    if not arrays:
        return ""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {tuple(array.shape)} ".encode())
        digest.update(_content_of(array).data)
    return digest.hexdigest()


def _arrays(leaf: object) -> list[torch.Tensor | np.ndarray]:
    """Return the dense tensors and NumPy arrays that hold a leaf; none where it is neither."""
    if isinstance(leaf, np.ndarray | np.generic):
        return [] if leaf.dtype.hasobject else [np.asarray(leaf)]
    if not isinstance(leaf, torch.Tensor):
        return []
    tensor = leaf.detach().cpu()
    if tensor.is_nested:
        return [array for part in tensor.unbind() for array in _arrays(part)]
    if tensor.layout == torch.strided:
        return [tensor]
    sparse = tensor.to_sparse().coalesce()
    return [torch.tensor(sparse.shape), sparse.indices(), sparse.values()]


def _content_of(array: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return the elements as uint8 [bytes], row by row."""
    if isinstance(array, np.ndarray):
        return np.frombuffer(array.tobytes(), np.uint8)
    # not reshape, which leaves one element of a stride as it is
    row = array.resolve_conj().resolve_neg().contiguous().as_strided((array.numel(),), (1,))
    return row.view(torch.uint8).numpy()


def write(directory: Path, description: Mapping[str, Any], weights: bytes, optimizer: bytes | None) -> None:
    """Write a model, in the place of an earlier one; its description comes last, with the checksums of the others.

    Raises:
        UserError: It cannot be written.
    """
    check_free(directory)
    contents = {WEIGHTS: weights, **({} if optimizer is None else {OPTIMIZER: optimizer})}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    described = {"format": _FORMAT, **description, "files": files}
    contents |= {SCRIPT: _LOAD.encode(), DESCRIPTION: f"{json.dumps(described, indent=2)}\n".encode()}
    with _writing(directory):
        for name, content in contents.items():
            unfinished = directory / f"{name}.{os.getpid()}"
            unfinished.write_bytes(content)
            unfinished.replace(directory / name)
        if optimizer is None:
            (directory / OPTIMIZER).unlink(missing_ok=True)


@contextmanager
def _writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--save {directory}: cannot be written ({error.strerror or error}); name another directory"
        ) from None


def _packed(name: str, model: nn.Module) -> bytes:
    state = model.state_dict()
    other = next((key for key, value in state.items() if not isinstance(value, torch.Tensor)), None)
    if other is not None:
        raise UserError(
            f"workload {name}: its model keeps {other} in its state, of type {type(state[other]).__name__}, and "
            "safetensors holds tensors alone; leave out --save, or keep that elsewhere"
        )
    # copies, since tensors that share their memory are refused
    tensors = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    return safetensors.torch.save(tensors)


def _described(directory: Path) -> dict[str, Any]:
    file = directory / DESCRIPTION
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        keys = ("workload", "optimizer", "seed", "epoch", "epochs", "split", "amp", "on_gpu")
        is_whole = found["format"] == _FORMAT and all(key in found for key in keys) and WEIGHTS in found["files"]
        is_whole = is_whole and {"name", "split"} <= set(found["metric"])
    except OSError as error:
        raise UserError(
            f"{directory}: has no model that sofim saved ({DESCRIPTION}: {error.strerror or error}); name the "
            "directory that --save gave, or one in it"
        ) from None
    except (ValueError, KeyError, TypeError):
        is_whole = False
    if not is_whole:
        raise UserError(f"{file}: is not as sofim wrote it; save the model again")
    return dict(found)


def _content(file: Path, checksum: str) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror or error}); save the model again") from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise UserError(f"{file}: is not the file that {DESCRIPTION} describes, its checksum differs; save it again")
    return content


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """Compute as a run does: sums depend on the number of threads."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
