"""What the CIFAR workloads share: scaling of the colours and the usual augmentation."""

from __future__ import annotations

from studies.data.images import CropAndFlip, Standardize

# Mean and standard deviation of the 50,000 training images, channel by channel.
CIFAR10_COLOURS = Standardize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR100_COLOURS = Standardize((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
AUGMENTATION = CropAndFlip(padding=4, flip=True)
VALIDATION_FRACTION = 0.1  # 45,000 train, 5,000 validate
