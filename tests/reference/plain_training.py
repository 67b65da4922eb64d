"""The training loop at its plainest: no shared memory, no mixed precision, no checkpoints, no GPU."""

from __future__ import annotations

import torch

from studies.training.randomness import Stream, stream_seed


def plain_training(workload, make_optimizer, batch_size, seed, num_epochs):
    """Return per epoch (mean training loss, validation loss, metric); for optimizers that only need gradients."""
    data = workload.load(None)
    torch.manual_seed(stream_seed(seed, Stream.WEIGHTS))
    model = workload.model()
    optimizer = make_optimizer(model.parameters())
    history = []
    for epoch in range(num_epochs):
        generator = torch.Generator().manual_seed(stream_seed(seed, Stream.ORDER, epoch))
        order = torch.randperm(len(data.train), generator=generator)
        total = 0.0
        model.train()
        for rows in order.split(batch_size):
            optimizer.zero_grad()
            loss = workload.loss(model(data.train.inputs[rows]), data.train.targets[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        model.eval()
        with torch.no_grad():
            outputs = model(data.validation.inputs)
            validation_loss = workload.loss(outputs, data.validation.targets).item()
            metric = workload.metric.function(outputs, data.validation.targets).item()
        history.append((total / len(data.train), validation_loss, metric))
    return history
