"""Sums over tensors of which each process has a part."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from torch import Tensor


def over_ranks(sums: Sequence[Tensor]) -> list[Tensor]:
    """Make plain tensors of sums of which some are sharded.

    What has the same layout (mesh and placements) is added up in each process before the processes talk: one all-reduce
    a layout, in the order of the tensors, which is the same everywhere.

    Args:
        sums: 0-dim tensors, `DTensor` or other.

    Returns:
        0-dim tensors that are alike in every process, with the same total; the sharded ones come last.
    """
    # Here, since it takes a tenth of a second; where there is a DTensor it has been imported.
    from torch.distributed.tensor import DTensor

    plain: list[Tensor] = []
    layouts: dict[Hashable, list[DTensor]] = {}
    for one in sums:
        if isinstance(one, DTensor):
            layouts.setdefault((one.device_mesh, one.placements, one.dtype), []).append(one)
        else:
            plain.append(one)
    return [*plain, *(sum(alike[1:], alike[0]).full_tensor() for alike in layouts.values())]
