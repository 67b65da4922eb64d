"""The table of the project's workloads, and how a name is looked up."""

from __future__ import annotations

from collections.abc import Mapping

from studies.workloads._base import Workload
from studies.workloads._function import TrainingFunction
from studies.workloads._resolve import resolve_in
from studies.workloads.breast_cancer_logreg import BREAST_CANCER_LOGREG
from studies.workloads.breast_cancer_regression import BREAST_CANCER_REGRESSION
from studies.workloads.cartpole_reinforce import CARTPOLE_REINFORCE
from studies.workloads.cifar10_lenet5 import CIFAR10_LENET5
from studies.workloads.cifar10_resnet18 import CIFAR10_RESNET18
from studies.workloads.cifar100_resnet9 import CIFAR100_RESNET9
from studies.workloads.digits_autoencoder import DIGITS_AUTOENCODER
from studies.workloads.digits_lenet5 import DIGITS_LENET5
from studies.workloads.digits_mlp import DIGITS_MLP
from studies.workloads.digits_vit import DIGITS_VIT
from studies.workloads.fashion_lenet5 import FASHION_LENET5
from studies.workloads.poisson_pinn import POISSON_PINN
from studies.workloads.shakespeare_gpt import SHAKESPEARE_GPT
from studies.workloads.shakespeare_plays import SHAKESPEARE_PLAYS
from studies.workloads.svhn_resnet9 import SVHN_RESNET9

WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload
    for workload in (
        BREAST_CANCER_LOGREG,
        BREAST_CANCER_REGRESSION,
        DIGITS_MLP,
        DIGITS_LENET5,
        DIGITS_VIT,
        DIGITS_AUTOENCODER,
        SHAKESPEARE_PLAYS,
        SHAKESPEARE_GPT,
        POISSON_PINN,
        CARTPOLE_REINFORCE,
        FASHION_LENET5,
        CIFAR10_LENET5,
        CIFAR10_RESNET18,
        CIFAR100_RESNET9,
        SVHN_RESNET9,
    )
}
"""The project's workloads by name: small ones first, then the pairs of the SOFIM paper."""


def resolve(name: str) -> Workload | TrainingFunction:
    """Return a workload by its name in ``WORKLOADS``, or by the path of it or of a function that returns one.

    Args:
        name: ``"digits-mlp"``, or ``"package.module:factory"`` for one's own.

    Raises:
        UserError: If there is no such workload, or the user's module or function fails or returns something else; the
            message says where in the user's code.
    """
    return resolve_in(WORKLOADS, name)
