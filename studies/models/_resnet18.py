"""ResNet18 (He, Zhang, Ren, Sun, 2016) with the stem for 32×32 images."""

from __future__ import annotations

from torch import nn


def resnet18(num_classes: int) -> nn.Module:
    """Return torchvision's ResNet18 with the CIFAR stem: a 3×3 convolution of stride 1 and no pooling after it.

    The weights are random, drawn from torch's global generator.

    Args:
        num_classes: Number of outputs. Inputs are [n, 3, 32, 32].
    """
    from torchvision.models import resnet18 as torchvision_resnet18  # slow to import, and few workloads need it

    model: nn.Module = torchvision_resnet18(weights=None, num_classes=num_classes)
    stem = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    # The same initialization as torchvision gives every other convolution of the net.
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    model.conv1 = stem
    model.maxpool = nn.Identity()
    return model
