"""ResNet9, the small residual net for 32×32 images."""

from __future__ import annotations

from torch import Tensor, nn


def _convolution(num_in: int, num_out: int, *, pool: int = 0) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(num_in, num_out, 3, padding=1), nn.BatchNorm2d(num_out), nn.ReLU(inplace=True)]
    if pool:
        layers.append(nn.MaxPool2d(pool))
    return nn.Sequential(*layers)


class _Residual(nn.Module):
    """Two convolutions whose output is added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, images: Tensor) -> Tensor:
        added: Tensor = images + self.body(images)
        return added


class ResNet9(nn.Module):
    """The form this project means by ResNet9; several go by the name.

    conv64 → conv128, pool → residual (128 × 2) → conv256, pool → conv512, pool → residual (512 × 2) → pool 4 → linear.
    Every convolution is 3×3 with bias, followed by BatchNorm and ReLU. 6,575,370 parameters at 10 classes, 6,621,540 at
    100.

    Args:
        num_classes: Number of outputs.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _convolution(3, 64),
            _convolution(64, 128, pool=2),
            _Residual(128),
            _convolution(128, 256, pool=2),
            _convolution(256, 512, pool=2),
            _Residual(512),
            nn.MaxPool2d(4),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, num_classes] for images [n, 3, 32, 32]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
