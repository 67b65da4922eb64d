"""Whether a run is the same one when it is made again, goes on from a state, or is copied."""

from __future__ import annotations

import copy
import io
import pickle
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from sofim.contract._outcome import Fault
from sofim.contract._training import Subject, Training, advance, batches, cross_entropy, network, same

_HALF = 6
_OF_TORCH = frozenset(vars(torch.optim.SGD([torch.zeros(1)], lr=0.1)))


def repeats(subject: Subject) -> None:
    """Make the same run twice."""
    first = Training(subject)
    losses = first.train(batches(2 * _HALF))
    second = Training(subject)
    _compare(losses, second.train(batches(2 * _HALF)), first, second, "a second run with the same seed")


def leaves_generators(subject: Subject) -> None:
    """Seed the global generators in two ways: their states must never become the same."""
    outer, seen = random.getstate(), []
    try:
        for seed in (1, 2):
            torch.default_generator.manual_seed(seed)
            random.seed(seed)
            model = network()
            optimizer = subject.optimizer(model)
            states = [(torch.get_rng_state().tolist(), random.getstate())]
            for batch in batches(3):
                advance(subject.spec, optimizer, lambda batch=batch, model=model: cross_entropy(model, batch))  # type: ignore[misc]
            seen.append([*states, (torch.get_rng_state().tolist(), random.getstate())])
    finally:
        random.setstate(outer)
    for where, one, other in zip(("when it is made", "in step()"), *seen, strict=True):
        for whose, first, second in zip(("torch's", "Python's"), one, other, strict=True):
            if first == second:
                raise Fault(f"it seeds {whose} global generator {where}")


def is_alone(subject: Subject) -> None:
    """Make the same run alone, and in turns with another one."""
    alone = Training(subject)
    losses, seen = alone.train(batches(_HALF)), []
    beside, other = Training(subject), Training(subject, network(seed=3))
    for batch in batches(_HALF):
        seen += beside.train([batch])
        other.train([batch])
    _compare(losses, seen, alone, beside, "a run beside which another one steps")


def resumes(subject: Subject) -> None:
    """Save half a run with `torch.save`, load it with `weights_only=True` into new objects, and go on."""
    data = batches(2 * _HALF)
    straight = Training(subject)
    losses = straight.train(data)
    first = Training(subject)
    early = first.train(data[:_HALF])
    file = io.BytesIO()
    torch.save({"model": first.model.state_dict(), "optimizer": first.optimizer.state_dict()}, file)
    file.seek(0)
    try:
        saved = torch.load(file, weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)", str(error))
        raise Fault(
            f"torch.load(weights_only=True) refuses its state{f', which holds {refused[1]}' if refused else ''}",
            "keep tensors, numbers, strings, lists and dicts alone in self.state and param_groups",
        ) from error
    second = Training(subject, network(seed=5))
    second.model.load_state_dict(saved["model"])
    second.optimizer.load_state_dict(saved["optimizer"])
    second.random_state = first.random_state
    what = f"a run that goes on from its state_dict{_not_saved(first.optimizer)}"
    _compare(losses, early + second.train(data[_HALF:]), straight, second, what)


@dataclass(frozen=True, slots=True)
class Copies:
    """A check: a copy of model and optimizer goes on as the original does, and neither changes the other.

    Args:
        duplicate: Returns a copy of both.
    """

    duplicate: Callable[[object], object]

    def __call__(self, subject: Subject) -> None:
        """Train half a run, copy, and finish the copy before the original."""
        data = batches(2 * _HALF)
        straight = Training(subject)
        losses = straight.train(data)
        original = Training(subject)
        early = original.train(data[:_HALF])
        twin = copy.copy(original)
        twin.model, twin.optimizer = self.duplicate((original.model, original.optimizer))  # type: ignore[misc]
        what = f"the copy{_not_saved(original.optimizer)}"
        _compare(losses, early + twin.train(data[_HALF:]), straight, twin, what)
        _compare(losses, early + original.train(data[_HALF:]), straight, original, "the original beside its copy")


def by_pickle(pair: object) -> object:
    """Return a copy made by pickle."""
    return pickle.loads(pickle.dumps(pair))


DEEP_COPY, PICKLE = Copies(copy.deepcopy), Copies(by_pickle)


def _not_saved(optimizer: torch.optim.Optimizer) -> str:
    """Return the names of attributes that neither state_dict nor pickle has, as part of a sentence."""
    names = sorted(name for name in vars(optimizer) if name not in _OF_TORCH)
    return f" (without its attributes {', '.join(names[:5])})" if names else ""


def _compare(losses: list[float], seen: list[float], first: Training, second: Training, what: str) -> None:
    """Raise `Fault` where losses or parameters of two runs are not the same."""
    for step, (one, other) in enumerate(zip(losses, seen, strict=True), 1):
        if one != other and not one != one != other:
            raise Fault(f"{what} has another loss in step {step} of {len(losses)}: {other:.9g}, not {one:.9g}")
    if not same(first.parameters(), second.parameters()):
        raise Fault(f"{what} has other parameters after step {len(losses)}")
