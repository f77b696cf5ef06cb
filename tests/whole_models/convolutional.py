"""ResNet-18, MobileNetV2, a U-Net and the front of wav2vec 2.0."""

import torch
from torch import nn

from whole_models import add

SIDE = 64
CLASSES = 1000


def images(batch, time):
    return (torch.randn(batch, 3, time, time),)


def convolutions(side, layers):
    """Products of convolutions in a chain: of each (inputs, outputs, taps of a side, stride, groups)."""
    total = 0
    for inputs, outputs, taps, stride, groups in layers:
        side = (side - 1) // stride + 1
        total += side * side * outputs * inputs // groups * taps * taps
    return total, side


# ResNet-18 ---------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        short = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        self.short = nn.Identity() if stride == 1 else nn.Sequential(short, nn.BatchNorm2d(outputs))

    def forward(self, x):
        return (self.layers(x) + self.short(x)).relu()


class ResNet18(nn.Sequential):
    """He and others, Deep Residual Learning for Image Recognition (2015), table 1."""

    def __init__(self) -> None:
        widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)]
        widths += [(128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
        super().__init__(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            *[Residual(*width) for width in widths],
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(512, CLASSES),
        )


def resnet18_macs(batch, time):
    """Seven taps of stride two, a pooling of stride two; at each width four convolutions of three taps, from the
    second on the first with half the inputs and a shortcut of one tap beside it; a linear layer.
    """
    total, side = convolutions(time, [(3, 64, 7, 2, 1)])
    side = (side - 1) // 2 + 1
    total += convolutions(side, [(64, 64, 3, 1, 1)] * 4)[0]
    for width in (128, 256, 512):
        short = convolutions(side, [(width // 2, width, 1, 2, 1)])[0]
        chain, side = convolutions(side, [(width // 2, width, 3, 2, 1), *[(width, width, 3, 1, 1)] * 3])
        total += short + chain
    return batch * (total + 512 * CLASSES)


add(
    "ResNet-18",
    build=ResNet18,
    inputs=images,
    sizes={"batch": 2, "time": SIDE},
    others={"batch": 3, "time": 96},
    macs=resnet18_macs,
    fixed=lambda batch, time: batch * convolutions(time, [(3, 64, 7, 2, 1)])[0],
    axes={"batch": [(0, 0)], "time": [(0, 2), (0, 3)]},
)


# MobileNetV2 -------------------------------------------------------------------------------------------------------


def normed(inputs, outputs, taps, stride=1, groups=1):
    convolution = nn.Conv2d(inputs, outputs, taps, stride, taps // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU6()]


# Expansion, channels, repeats, first stride: Sandler and others, MobileNetV2 (2018), table 2.
BOTTLENECKS = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = expansion * inputs
        widened = normed(inputs, inner, 1) if expansion > 1 else []
        self.layers = nn.Sequential(*widened, *normed(inner, inner, 3, stride, inner), *normed(inner, outputs, 1)[:2])
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


def bottlenecks():
    """Inputs, outputs, stride and expansion of each block."""
    inputs = 32
    for expansion, outputs, repeats, stride in BOTTLENECKS:
        for index in range(repeats):
            yield inputs, outputs, stride if index == 0 else 1, expansion
            inputs = outputs


class MobileNetV2(nn.Sequential):
    def __init__(self) -> None:
        blocks = [Inverted(*sizes) for sizes in bottlenecks()]
        last = normed(320, 1280, 1)
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, CLASSES)]
        super().__init__(*normed(3, 32, 3, 2), *blocks, *last, *head)


def mobilenet_macs(batch, time):
    """Each block: one tap to the inner width (but for the first), nine taps of one channel, one tap back."""
    layers = [(3, 32, 3, 2, 1)]
    for inputs, outputs, stride, expansion in bottlenecks():
        inner = expansion * inputs
        layers += [(inputs, inner, 1, 1, 1)] if expansion > 1 else []
        layers += [(inner, inner, 3, stride, inner), (inner, outputs, 1, 1, 1)]
    return batch * (convolutions(time, [*layers, (320, 1280, 1, 1, 1)])[0] + 1280 * CLASSES)


add(
    "MobileNetV2",
    build=MobileNetV2,
    inputs=images,
    sizes={"batch": 2, "time": SIDE},
    others={"batch": 3, "time": 96},
    macs=mobilenet_macs,
    fixed=lambda batch, time: batch * convolutions(time, [(3, 32, 3, 2, 1)])[0],
    axes={"batch": [(0, 0)], "time": [(0, 2), (0, 3)]},
    without={"ONNX": "the exporter takes half a minute"},
)


# U-Net -------------------------------------------------------------------------------------------------------------

WIDTHS = (4, 8, 16)


class UNet(nn.Module):
    """Two steps down by pooling, two up by transposed convolutions of two taps and stride two; levels are joined."""

    def __init__(self) -> None:
        super().__init__()
        one, two, three = WIDTHS
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList([self.pair(3, one), self.pair(one, two), self.pair(two, three)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(three, two, 2, 2), nn.ConvTranspose2d(two, one, 2, 2)])
        self.joined = nn.ModuleList([self.pair(2 * two, two), self.pair(2 * one, one)])
        self.output = nn.Conv2d(one, 2, 1)

    def pair(self, inputs, outputs):
        first, second = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

    def forward(self, x):
        first = self.down[0](x)
        second = self.down[1](self.pool(first))
        third = self.down[2](self.pool(second))
        second = self.joined[0](torch.cat([self.up[0](third), second], 1))
        first = self.joined[1](torch.cat([self.up[1](second), first], 1))
        return self.output(first)


def unet_macs(batch, time):
    """Pairs of nine taps on sides S, S / 2, S / 4; a transposed convolution has one tap for each pixel it makes."""
    one, two, three = WIDTHS
    whole, half, quarter = time**2, (time // 2) ** 2, (time // 4) ** 2
    down = 9 * (whole * (3 * one + one**2) + half * (one * two + two**2) + quarter * (two * three + three**2))
    up = half * three * two + whole * two * one
    joined = 9 * (half * (2 * two * two + two**2) + whole * (2 * one * one + one**2))
    return batch * (down + up + joined + whole * one * 2)


add(
    "U-Net",
    build=UNet,
    inputs=images,
    sizes={"batch": 2, "time": 32},
    others={"batch": 3, "time": 48},
    macs=unet_macs,
    fixed=lambda batch, time: batch * 9 * time**2 * 3 * WIDTHS[0],
    axes={"batch": [(0, 0)], "time": [(0, 2), (0, 3)]},
)


# The front of wav2vec 2.0 ------------------------------------------------------------------------------------------

CHANNELS, PLACES, GROUPS = 16, 8, 4
TAPS_AND_STRIDES = [(10, 5), (3, 2), (3, 2), (2, 2)]


class WaveFront(nn.Module):
    """Strided convolutions, and a positional convolution whose weight is a direction times a length."""

    def __init__(self, norm) -> None:
        super().__init__()
        inputs, layers = 1, []
        for index, (taps, stride) in enumerate(TAPS_AND_STRIDES):
            layers += [nn.Conv1d(inputs, CHANNELS, taps, stride, bias=False)]
            layers += [nn.GroupNorm(CHANNELS, CHANNELS)] if index == 0 else []
            layers += [nn.GELU()]
            inputs = CHANNELS
        self.layers = nn.Sequential(*layers)
        position = nn.Conv1d(CHANNELS, CHANNELS, PLACES, padding=PLACES // 2, groups=GROUPS)
        self.position = norm(position, name="weight", dim=2)

    def forward(self, wave):
        x = self.layers(wave.unsqueeze(1))
        return x + nn.functional.gelu(self.position(x)[:, :, :-1])


def wave_macs(batch, time):
    """Each convolution at its own number of places; the positional one at T + 1, in groups."""
    total, inputs = 0, 1
    for taps, stride in TAPS_AND_STRIDES:
        time = (time - taps) // stride + 1
        total += time * taps * inputs * CHANNELS
        inputs = CHANNELS
    return batch * (total + (time + 1) * PLACES * CHANNELS * CHANNELS // GROUPS)


for name, norm in {
    "a parametrisation": nn.utils.parametrizations.weight_norm,
    "hooks": nn.utils.weight_norm,
}.items():
    add(
        f"front of wav2vec 2.0, weight norm by {name}",
        build=lambda norm=norm: WaveFront(norm),
        inputs=lambda batch, time: (torch.randn(batch, time),),
        sizes={"batch": 2, "time": 400},
        others={"batch": 3, "time": 960},
        macs=wave_macs,
        fixed=lambda batch, time: batch * ((time - 10) // 5 + 1) * 10 * CHANNELS,
        axes={"batch": [(0, 0)], "time": [(0, 1)]},
        without={"scripted": "a weight that is computed before each call is no attribute of a script"},
    )
