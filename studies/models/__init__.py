"""The networks of the project's workloads."""

from studies.models._lenet5 import LeNet5
from studies.models._resnet9 import ResNet9
from studies.models._resnet18 import resnet18
from studies.models._transformer import TransformerBlock

__all__ = ["LeNet5", "ResNet9", "TransformerBlock", "resnet18"]
