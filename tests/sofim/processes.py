"""What tests run in several processes: each case gives its largest difference to one process, or what refused it."""

from __future__ import annotations

import copy
import os
import warnings
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from sofim import SOFIM, NystromSGD, sofim_update

STEPS = 3
BATCH = 48  # of 1, 2, 3 or 4 processes


def run(num_processes: int, folder: Path) -> dict[str, float | str]:
    """Every case's outcome, the worst over the processes."""
    mp.start_processes(_work, (num_processes, str(folder)), nprocs=num_processes, start_method="spawn")
    found = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(num_processes)]
    return {
        name: max((one[name] for one in found), key=lambda outcome: (isinstance(outcome, str), outcome))
        for name in found[0]
    }


def _work(rank: int, num_processes: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=num_processes)
    cases = dict(_cases(num_processes))
    outcomes: dict[str, float | str] = {}
    for name, case in cases.items():
        torch.manual_seed(0)
        try:
            outcomes[name] = float(case())
        except (ValueError, RuntimeError) as error:
            outcomes[name] = f"{type(error).__name__}: {error}"
        dist.barrier()
    torch.save(outcomes, f"{folder}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # torch's threads abort some processes that end as usual, whatever the optimizer


def _cases(num_processes):
    """In three processes meshes of one dimension, into which rows do not divide; in four a mesh of two dimensions."""
    if num_processes == 4:
        yield from _square_cases()
        return
    mesh = init_device_mesh("cpu", (num_processes,))
    for classes in (2, 7):  # with two rows for three processes one has an empty tensor
        for options in (
            {},
            {"foreach": True},
            {"foreach": False, "weight_decay": 0.1},
            {"maximize": True},
            {"direction": "gradient"},
            {"blocks": "tensor"},
        ):
            yield f"fully_shard, {classes} classes, {options}", partial(shards, mesh, classes, options)
    yield "fully_shard, two groups", partial(shards, mesh, 2, {}, grouped=True)
    yield "fully_shard, layers alone", partial(shards, mesh, 2, {}, root=False)
    yield "fully_shard, interrupted", partial(interrupted, mesh)
    for placement in (Shard(0), Shard(1), Replicate()):
        for of_gradient in (Shard(0), Shard(1), Replicate(), Partial()):
            yield f"{placement}, gradient {of_gradient}", partial(placed, mesh, [placement], [of_gradient])
    partly = partial(placed, mesh, [Shard(0)], [Partial()], direction="gradient", blocks="tensor")
    yield "Shard(0), gradient Partial, along gradients, tensor by tensor", partly
    yield "pure function", partial(pure, mesh)
    yield "pure function, along gradients", partial(pure, mesh, direction="gradient")
    yield "DDP, SOFIM", partial(replicated, SOFIM)
    yield "DDP, NystromSGD", partial(replicated, NystromSGD)
    for kind in (SOFIM, NystromSGD):
        yield f"refused: FSDP1, {kind.__name__}, original parameters", partial(fsdp1, kind, use_orig_params=True)
        yield f"refused: FSDP1, {kind.__name__}, flat parameters", partial(fsdp1, kind, use_orig_params=False)
        yield f"refused: ZeRO, {kind.__name__}", partial(zero, kind)
    yield "refused: FSDP1 around an optimizer's parameters", fsdp1_afterwards
    yield "refused: DTensor, NystromSGD", partial(nystrom_sgd_of_shards, mesh)


def _square_cases():
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("outer", "inner"))
    yield "fully_shard, hybrid", partial(shards, mesh, 3, {"weight_decay": 0.1})
    # of two, since torch's layers of activations take no uneven parts
    yield "tensor parallel", partial(tensor_parallel, mesh["inner"])
    yield "fully_shard, tensor parallel", partial(shards_of_shards, mesh)
    for placements in ([Shard(0), Shard(1)], [Shard(1), Replicate()], [Shard(0), Shard(0)]):
        yield f"{placements}", partial(placed, mesh, placements, [Partial(), Shard(0)])


# -- cases ---------------------------------------------------------------------------------------------------------


def network(classes=3):
    """Tensors below and above the sizes that SOFIM treats apart."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, classes))


def data(classes=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, 6, generator=generator), torch.randint(0, classes, (BATCH,), generator=generator)


def part(tensors):
    return tuple(tensor[dist.get_rank() :: dist.get_world_size()] for tensor in tensors)


def train(model, optimizer, inputs, targets, steps=STEPS):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        if getattr(optimizer, "refresh_due", False):
            optimizer.refresh(loss)
        loss.backward()
        optimizer.step()


def alone(classes=3, make=SOFIM, **options):
    model = network(classes)
    train(model, make(model.parameters(), lr=0.5, **options), *data(classes))
    return model


def off(model, reference):
    """The largest difference; it fails where nothing was trained."""
    ours = [whole(param) for param in model.parameters()]
    theirs = [param.detach() for param in reference.parameters()]
    assert (theirs[0] - network()[0].weight).abs().max() > 1e-3
    return max((one - other).abs().max().item() for one, other in zip(ours, theirs, strict=True))


def whole(tensor):
    tensor = tensor.detach()
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded(mesh, classes=3, root=True):
    model = network(classes)
    for layer in (model[0], model[2], model[4]):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh) if root else model


def two_groups(model):
    biases = [param for name, param in model.named_parameters() if name.endswith("bias")]
    weights = [param for name, param in model.named_parameters() if name.endswith("weight")]
    return [{"params": weights}, {"params": biases, "lr": 0.1, "rho": 2.0}]


def shards(mesh, classes, options, grouped=False, root=True):
    def build(model):
        return SOFIM(two_groups(model) if grouped else model.parameters(), lr=0.5, **options)

    reference, model = network(classes), sharded(mesh, classes, root)
    train(reference, build(reference), *data(classes))
    train(model, build(model), *part(data(classes)))
    return off(model, reference)


def interrupted(mesh):
    """The state goes through torch's distributed checkpoints, which know tensors by the names of parameters."""
    reference = network()
    train(reference, SOFIM(reference.parameters(), lr=0.5), *data(), steps=2 * STEPS)
    model = sharded(mesh)
    optimizer = SOFIM(model.parameters(), lr=0.5)
    train(model, optimizer, *part(data()))
    stored = copy.deepcopy(get_optimizer_state_dict(model, optimizer))
    optimizer = SOFIM(model.parameters(), lr=0.5)
    set_optimizer_state_dict(model, optimizer, stored)
    train(model, optimizer, *part(data()))
    return off(model, reference)


def tensor_parallel(mesh):
    """The first layer is sharded by rows, the second by columns; the last is a plain tensor in every process."""
    model = parallelize_module(network(), mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    options = {"weight_decay": 0.1, "direction": "gradient"}
    train(model, SOFIM(model.parameters(), lr=0.5, **options), *data())
    return off(model, alone(**options))


def shards_of_shards(mesh):
    model = parallelize_module(network(), mesh["inner"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    for layer in (model[0], model[2], model[4]):
        fully_shard(layer, mesh=mesh["outer"])
    row = mesh["outer"].get_local_rank()
    inputs, targets = data()
    train(model, SOFIM(model.parameters(), lr=0.5), inputs[row::2], targets[row::2])
    return off(model, alone())


def placed(mesh, placements, of_gradient, **form):
    """Parameters and gradients of any layout, with a plain parameter among them."""
    torch.manual_seed(2)
    values = [torch.randn(7, 5), torch.randn(130, 70), torch.randn(4, 4)]
    grads = [torch.randn_like(value) for value in values]
    reference = [nn.Parameter(value.clone()) for value in values]
    model = [nn.Parameter(distribute_tensor(value, mesh, placements)) for value in values[:2]]
    model.append(nn.Parameter(values[2].clone()))
    first, second = (SOFIM(params, lr=0.5, weight_decay=0.01, **form) for params in (reference, model))
    for _ in range(STEPS):
        for one, other, grad in zip(reference, model, grads, strict=True):
            one.grad = grad.clone()
            other.grad = grad.clone() if not isinstance(other, DTensor) else laid_out(grad, mesh, of_gradient)
        first.step()
        second.step()
    return max((whole(one) - other.detach()).abs().max().item() for one, other in zip(model, reference, strict=True))


def laid_out(tensor, mesh, placements):
    """As DTensor; of what is partial each process has a share of its own size."""
    spread = [Replicate() if placement.is_partial() else placement for placement in placements]
    local = distribute_tensor(tensor, mesh, spread).to_local()
    for dimension, placement in enumerate(placements):
        if placement.is_partial():
            size = mesh.size(dimension)
            local = local * (2 * (mesh.get_local_rank(dimension) + 1) / (size * (size + 1)))
    return DTensor.from_local(local, mesh, placements, shape=tensor.shape, stride=tensor.stride())


def pure(mesh, **form):
    torch.manual_seed(2)
    value, grad = torch.randn(130, 70), torch.randn(130, 70)
    arguments = {"lr": 0.5, "beta": 0.9, "rho": 0.5, "weight_decay": 0.1, **form}
    [want], _ = sofim_update([value], [grad], [torch.zeros_like(value)], 1, **arguments)
    parts = [distribute_tensor(tensor, mesh, [Shard(0)]) for tensor in (value, grad, torch.zeros_like(value))]
    [got], _ = sofim_update(parts[:1], parts[1:2], parts[2:], 1, **arguments)
    return (got.full_tensor() - want).abs().max().item()


def replicated(kind):
    """The processes have generators of different seeds, as a person's may."""
    options = {"rank": 20, "rho": 1.0, "update_period": 2} if kind is NystromSGD else {}
    reference = alone(make=kind, **options, **({"seed": 0} if kind is NystromSGD else {}))
    model = DistributedDataParallel(network())
    if kind is NystromSGD:
        options["seed"] = dist.get_rank()
    train(model, kind(model.parameters(), lr=0.5, **options), *part(data()))
    return off(model, reference)


def fsdp1(kind, use_orig_params):
    model = FullyShardedDataParallel(network(), use_orig_params=use_orig_params, device_id=torch.device("cpu"))
    kind(model.parameters(), lr=0.5)
    return 0.0


def fsdp1_afterwards():
    model = network()
    optimizer = SOFIM(model.parameters(), lr=0.5)
    model = FullyShardedDataParallel(model, use_orig_params=True, device_id=torch.device("cpu"))
    train(model, optimizer, *part(data()))
    return 0.0


def nystrom_sgd_of_shards(mesh):
    NystromSGD([nn.Parameter(distribute_tensor(torch.ones(4), mesh, [Shard(0)]))])
    return 0.0


def zero(kind):
    ZeroRedundancyOptimizer(network().parameters(), optimizer_class=kind, lr=0.5)
    return 0.0
