"""LeNet5 (LeCun, Bottou, Bengio, Haffner, 1998), the classic net of two convolutions and three linear layers."""

from __future__ import annotations

from torch import Tensor, nn


class LeNet5(nn.Module):
    """LeNet5 with ReLU and maximum pooling, as it is trained today, for square images of any size from 12 pixels.

    5×5 convolution to 6 channels, pooling, 5×5 convolution to 16 channels, pooling, linear 120, linear 84, linear.
    Differs from the paper: ReLU for tanh, maximum pooling for trainable averages, full connections between the
    convolutions, a linear output for radial basis functions.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, pixels.
        num_classes: Number of outputs.
        padding: Pixels of black around the images before the first convolution; 2 makes 28 into the paper's 32.
    """

    def __init__(self, *, channels: int, size: int, num_classes: int, padding: int) -> None:
        super().__init__()
        side = ((size + 2 * padding - 4) // 2 - 4) // 2
        if side < 1:
            raise ValueError(f"images of {size} pixels with padding {padding} are too small for LeNet5")
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=padding),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            nn.Linear(16 * side * side, 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Linear(84, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [n, num_classes] for images [n, channels, size, size]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
