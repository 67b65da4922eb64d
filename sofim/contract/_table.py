"""The table of checks, those that tuning relies on first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from sofim.contract import _convergence, _cost, _gradients, _precision, _rates, _repeating, _steps
from sofim.contract._outcome import Check, Outcome, Verdict

if TYPE_CHECKING:
    from sofim.registry import OptimizerSpec

_STATE = "keep all that step() reads in self.state[parameter] and self.param_groups, and nothing in attributes"

MADE = "is made as its row says"
"""The check without which an optimizer is none."""

CHECKS: tuple[Check, ...] = (
    # -- what tuning relies on ----------------------------------------------------------------------------------------
    Check(
        "has each parameter in one of its groups",
        _steps.groups_all_parameters,
        "put every parameter that requires a gradient into exactly one of the groups that the row makes",
        decides=True,
    ),
    Check(
        MADE,
        _steps.is_made,
        "give the row what the factory cannot do without, as defaults of its arguments",
        decides=True,
    ),
    Check(
        "converges on a quadratic",
        _convergence.QUADRATIC,
        "look at the sign and the size of the step, and at its default arguments",
    ),
    Check(
        "converges on logistic regression",
        _convergence.LOGISTIC,
        "look at the sign and the size of the step, and at its default arguments",
    ),
    Check(
        "repeats bit for bit with a seed",
        _repeating.repeats,
        "draw from torch's global generator or one that it seeds (torch.Generator), not from random, numpy or the "
        "clock, and share nothing between optimizers",
    ),
    Check(
        "leaves the global generators to others",
        _repeating.leaves_generators,
        "draw from a torch.Generator of its own, and seed no global one",
    ),
    Check(
        "is not disturbed by another one beside it",
        _repeating.is_alone,
        "keep what changes in self.state, not in its class or module",
    ),
    Check("resumes bit for bit from its state_dict", _repeating.resumes, _STATE),
    Check(
        "follows the learning rate in its groups",
        _rates.follows_its_groups,
        "read group['lr'] in each step(), not once in __init__",
    ),
    Check(
        "leaves parameters without gradients alone",
        _gradients.leaves_the_unused,
        "skip parameters whose grad is None, weight decay included",
    ),
    Check(
        "trains parameters of any shape",
        _gradients.takes_all_shapes,
        "flatten what is no matrix, or give the row groups of those that it treats otherwise",
    ),
    Check(
        "does not break where gradients are zero, minute or huge",
        _gradients.survives_edges,
        "divide by nothing that may be zero, and leave a loss that is not finite to the training loop",
    ),
    Check(
        "clears gradients both ways",
        _gradients.clears_gradients,
        "leave zero_grad(set_to_none) to torch.optim.Optimizer",
    ),
    Check(
        "costs the passes that its row counts",
        _steps.counts_its_passes,
        "set evaluations_per_step to the backward passes of a step, apart from those of closures and refreshes",
    ),
    Check(
        "frees the graph of the loss",
        _steps.frees_graphs,
        "detach what it keeps (torch.no_grad in step, loss.detach())",
    ),
    Check(
        "gives back its training weights after an evaluation",
        _steps.keeps_its_modes,
        "keep the training weights when eval() replaces them, and copy them back in train()",
    ),
    Check(
        "calls a closure and returns its loss",
        _steps.calls_closures,
        "begin step(closure) with: with torch.enable_grad(): loss = closure(); and return the loss",
        needed=lambda spec: spec.needs_closure,
        otherwise="PyTorch Lightning and others call step() with one",
    ),
    Check(
        "takes groups with learning rates of their own",
        _rates.has_groups,
        "use each group's own options in step()",
        needed=lambda spec: spec.groups is not None,
        otherwise="people give biases or layers their own",
    ),
    # -- what others rely on ------------------------------------------------------------------------------------------
    Check(
        "descends Rosenbrock's valley",
        _convergence.VALLEY,
        "none may be needed: a narrow valley asks for other arguments than its defaults",
        needed=False,
        otherwise="valleys are what curvature is for",
    ),
    Check(
        "takes a group that is added later",
        _rates.joins_late,
        "make the state of a parameter at its first step, not in __init__",
        needed=False,
        otherwise="fine-tuning unfreezes layers one after the other",
    ),
    Check(
        "runs and resumes under all of torch's schedulers",
        _rates.takes_schedulers,
        "read all options from the group in each step(), and pass them as defaults",
        needed=False,
        otherwise="training loops use them",
    ),
    Check(
        "takes the momentum that a scheduler writes",
        _rates.takes_momentum,
        "read group['momentum'] or group['betas'] in each step()",
        needed=False,
        otherwise="OneCycleLR and CyclicLR move it",
    ),
    Check(
        "takes a tensor as learning rate",
        _rates.takes_a_tensor,
        "use group['lr'] as it is, or refuse a tensor in __init__",
        needed=False,
        otherwise="torch.compile is given one",
    ),
    Check(
        "keeps float64",
        _precision.keeps_double,
        "make its state and compute in the precision of the parameter",
        needed=False,
        otherwise="scientific models are trained in it",
    ),
    Check(
        "keeps bfloat16",
        _precision.keeps_bfloat16,
        "write parameters in place (param.add_) and keep their dtype",
        needed=False,
        otherwise="large models are trained in it",
    ),
    Check(
        "takes GradScaler",
        _gradients.takes_a_scaler,
        "let step() run without arguments, and leave out a step only where it is not called",
        needed=False,
        otherwise="float16 needs it",
    ),
    Check(
        "leaves gradients as they are",
        _gradients.spares_gradients,
        "compute on copies (grad.add, not grad.add_)",
        needed=False,
        otherwise="what logs or clips gradients after a step reads them",
    ),
    Check(
        "takes sparse gradients rightly or refuses them",
        _gradients.takes_sparse_gradients_or_not,
        "raise RuntimeError where grad.is_sparse, or use grad.to_dense()",
        needed=False,
        otherwise="embeddings may have them",
    ),
    Check(
        "takes a step without any gradient",
        _gradients.survives_an_empty_step,
        "return early where no parameter has a gradient",
        needed=False,
        otherwise="mixtures of experts and DistributedDataParallel take such steps",
    ),
    Check(
        "is copied by deepcopy",
        _repeating.DEEP_COPY,
        _STATE,
        needed=False,
        otherwise="averaging and meta-learning copy optimizers",
    ),
    Check("is copied by pickle", _repeating.PICKLE, _STATE, needed=False, otherwise="spawned processes receive it so"),
    Check(
        "refuses wrong arguments",
        _steps.refuses_what_is_wrong,
        "check them in __init__, take no **kwargs, and leave an empty list to torch.optim.Optimizer.__init__",
        needed=False,
        otherwise="a misspelt name would be searched in vain",
    ),
    Check(
        "runs on a network of 99,000 parameters",
        _cost.costs,
        "let step() run where a matrix has hundreds of rows",
        needed=False,
        otherwise="real networks are as large",
    ),
)
"""Every check, in the order in which they are told."""


def examine(spec: OptimizerSpec, arguments: Mapping[str, object] | None = None) -> Iterator[Outcome]:
    """Yield what each of `CHECKS` says of an optimizer; the first ones alone where these fail.

    Args:
        spec: The optimizer.
        arguments: Of its factory, in place of its defaults.
    """
    for check in CHECKS:
        outcome = check(spec, arguments)
        yield outcome
        if check.decides and outcome.verdict is Verdict.FAIL:
            return
