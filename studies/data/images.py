"""Whole batches of images as tensor operations: scaling to what a model takes, and random augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Standardize:
    """Turn uint8 images [n, channels, height, width] into float32: (image / 255 − mean) / std, channel by channel.

    Attributes:
        mean: Mean of each channel over the training images, on the scale from 0 to 1.
        std: Standard deviation of each channel, likewise.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, images: Tensor) -> Tensor:
        """Return the standardized images."""
        scale, shift = _constants(self.mean, self.std, images.device)
        return torch.addcmul(shift, images.to(torch.float32), scale)


@lru_cache(maxsize=64)
def _constants(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return scale and shift, [1, channels, 1, 1]; kept, because making them costs a transfer to the GPU."""
    mean_, std_ = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
    scale, shift = 1 / (255 * std_), -mean_ / std_
    shape = (1, -1, 1, 1)
    return scale.view(shape).to(device, torch.float32), shift.view(shape).to(device, torch.float32)


@dataclass(frozen=True)
class CropAndFlip:
    """The usual augmentation of CIFAR: pad with black, cut out at random, mirror half of the images left to right.

    Attributes:
        padding: Pixels added on each side before an image of the old size is cut out.
        flip: Whether to mirror.
    """

    padding: int = 4
    flip: bool = True

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return augmented images of the same shape [n, channels, height, width] and type.

        Args:
            images: A batch as it is stored, before scaling: black is 0.
            generator: Draws offsets and mirrorings; on the device of the images.
        """
        num, _, height, width = images.shape
        device = images.device
        padded = F.pad(images, (self.padding,) * 4)
        offsets = torch.randint(0, 2 * self.padding + 1, (2, num, 1), device=device, generator=generator)
        rows = offsets[0] + torch.arange(height, device=device)  # [n, height]
        columns = offsets[1] + torch.arange(width, device=device)  # [n, width]
        if self.flip:
            mirrored = torch.rand(num, 1, device=device, generator=generator) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        examples = torch.arange(num, device=device)
        # Mixed slices and indices put the channels last: [n, height, width, channels].
        cut = padded[examples[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return cut.permute(0, 3, 1, 2).contiguous()
