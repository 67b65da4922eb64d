"""Which parameters of a model are hidden matrices, which Muon trains."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def is_matrix(param: Tensor) -> bool:
    """Return whether a parameter is a matrix, flattened behind its first dimension: not a vector in disguise."""
    return param.ndim >= 2 and param.shape[0] > 1 and param[0].numel() > 1


def muon_groups(model: nn.Module) -> list[dict[str, Any]]:
    """Return the parameters of a model that Muon trains, and those that AdamW trains.

    Muon's are the hidden matrices, as its authors advise: those that belong neither to a table of embeddings, nor to
    the input layer of a model without one, nor to the output layer. These are the first and the last module that has a
    matrix, in the order in which the model has its modules. Of a model of two such layers the first is Muon's, which
    would have nothing to train otherwise; a model of one is AdamW's altogether.

    Args:
        model: Any; parameters that require no gradient are in no group.

    >>> layers = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    >>> [(group["use_muon"], len(group["params"])) for group in muon_groups(layers)]
    [(True, 1), (False, 7)]
    """
    layers = [(module, [p for p in module.parameters(recurse=False) if is_matrix(p)]) for module in model.modules()]
    layers = [(module, matrices) for module, matrices in layers if matrices]
    tables = [matrices for module, matrices in layers if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
    ends = [matrices for _, matrices in (layers[-1:] if tables or len(layers) < 3 else [layers[0], layers[-1]])]
    apart = {id(param) for matrices in [*tables, *ends] for param in matrices}
    trained = [param for param in model.parameters() if param.requires_grad]
    hidden = {id(param) for param in trained if is_matrix(param)} - apart
    shares = {use_muon: [p for p in trained if (id(p) in hidden) == use_muon] for use_muon in (True, False)}
    return [{"params": params, "use_muon": use_muon} for use_muon, params in shares.items() if params]
