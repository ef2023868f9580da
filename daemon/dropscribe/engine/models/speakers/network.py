"""CAM++ (Wang et al., "CAM++: A Fast and Efficient Network for Speaker Verification", 2023): frames → embedding.

A two-dimensional convolutional front end, three densely connected blocks of time-delay layers with a context-dependent
mask, and statistics pooling. Batch normalisation is folded into the convolution before it; where none is, it is a scale
and a shift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: Layers, kernel size and dilation of the dense blocks.
BLOCKS = ((12, 3, 1), (24, 3, 2), (16, 3, 2))
#: Strides over frequency of the residual blocks of the front end's two stages.
_STAGES = (("layer1", 2), ("layer2", 2))
MEL_BINS = 80
FRONT_CHANNELS = 32
#: Longest input, frames: the mask's context is a mean over 100 steps of two frames, here over all of them.
MOST_FRAMES = 200
_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class CamPlusPlusShape:
    """Sizes of a network, by their names in FunASR's configuration."""

    embedding_size: int = 192
    growth_rate: int = 32
    bn_size: int = 4
    init_channels: int = 128

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Parameter names of FunASR's CAMPPlus, with their shapes."""
        return dict(self._named())

    def _named(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        front, growth, bottleneck = FRONT_CHANNELS, self.growth_rate, self.bn_size * self.growth_rate
        yield "head.conv1.weight", (front, 1, 3, 3)
        yield from _norm("head.bn1", front)
        for stage, _ in _STAGES:
            for block in ("0", "1"):
                at = f"head.{stage}.{block}"
                for layer in ("1", "2"):
                    yield f"{at}.conv{layer}.weight", (front, front, 3, 3)
                    yield from _norm(f"{at}.bn{layer}", front)
                if block == "0":
                    yield f"{at}.shortcut.0.weight", (front, front, 1, 1)
                    yield from _norm(f"{at}.shortcut.1", front)
        yield "head.conv2.weight", (front, front, 3, 3)
        yield from _norm("head.bn2", front)
        channels = self.init_channels
        yield "xvector.tdnn.linear.weight", (channels, front * (MEL_BINS // 8), 5)
        yield from _norm("xvector.tdnn.nonlinear.batchnorm", channels)
        for number, (layers, kernel, _) in enumerate(BLOCKS, 1):
            for place in range(1, layers + 1):
                at = f"xvector.block{number}.tdnnd{place}"
                yield from _norm(f"{at}.nonlinear1.batchnorm", channels)
                yield f"{at}.linear1.weight", (bottleneck, channels, 1)
                yield from _norm(f"{at}.nonlinear2.batchnorm", bottleneck)
                yield f"{at}.cam_layer.linear_local.weight", (growth, bottleneck, kernel)
                yield f"{at}.cam_layer.linear1.weight", (bottleneck // 2, bottleneck, 1)
                yield f"{at}.cam_layer.linear1.bias", (bottleneck // 2,)
                yield f"{at}.cam_layer.linear2.weight", (growth, bottleneck // 2, 1)
                yield f"{at}.cam_layer.linear2.bias", (growth,)
                channels += growth
            yield from _norm(f"xvector.transit{number}.nonlinear.batchnorm", channels)
            yield f"xvector.transit{number}.linear.weight", (channels // 2, channels, 1)
            channels //= 2
        yield from _norm("xvector.out_nonlinear.batchnorm", channels)
        yield "xvector.dense.linear.weight", (self.embedding_size, 2 * channels, 1)
        for name in ("running_mean", "running_var"):
            yield f"xvector.dense.nonlinear.batchnorm.{name}", (self.embedding_size,)


def _norm(at: str, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{at}.{name}", (channels,)


@dataclass(frozen=True, slots=True, eq=False)
class _Dense:
    """One layer of a dense block, 1×1 convolutions as matrices (inputs, outputs)."""

    scale: Tensor
    shift: Tensor
    narrow: Tensor
    narrow_bias: Tensor
    local: Tensor  #: (growth, bottleneck, 1, kernel)
    dilation: int
    context: Tensor
    context_bias: Tensor
    mask: Tensor
    mask_bias: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    layers: tuple[_Dense, ...]
    scale: Tensor
    shift: Tensor
    transit: Tensor


class CamPlusPlus:
    """The network on one device. Activations are (windows, steps, channels); a window never affects another."""

    def __init__(
        self, weights: Mapping[str, Tensor], shape: CamPlusPlusShape, device: torch.device, dtype: torch.dtype
    ) -> None:
        """`weights`: as named in `shape.parameters()`. `dtype`: of weights and activations."""
        self._device = device
        self._dtype = dtype
        self._growth = shape.growth_rate
        #: Weights in fp32 on the CPU until they are folded.
        self._given = {name: value.float() for name, value in weights.items()}
        self._front = self._folded_front()
        self._tdnn = self._folded("xvector.tdnn.linear", "xvector.tdnn.nonlinear.batchnorm")
        self._blocks = tuple(self._block(i, n, d) for i, (n, _, d) in enumerate(BLOCKS, 1))
        self._out = self._scale_shift("xvector.out_nonlinear.batchnorm")
        scale, shift = self._normalisation("xvector.dense.nonlinear.batchnorm")
        # The last layer in fp32: it costs nothing, and its result is compared by cosine.
        self._dense = (self._given["xvector.dense.linear.weight"][:, :, 0] * scale[:, None]).to(device)
        self._dense_bias = shift.to(device)
        self._given.clear()

    def __call__(self, frames: Tensor) -> Tensor:
        """Embeddings of windows of equal length. frames: (n, t, 80), t ≤ 200. Returns (n, embedding size) float32."""
        assert frames.shape[1] <= MOST_FRAMES
        x = self._front_end(frames.to(self._dtype))
        for block in self._blocks:
            x = self._run_block(block, x)
        scale, shift = self._out
        x = torch.relu_(torch.addcmul(shift, x, scale)).float()
        statistics = torch.cat((x.mean(dim=1), x.std(dim=1)), dim=1)
        return F.linear(statistics, self._dense, self._dense_bias)

    def _front_end(self, frames: Tensor) -> Tensor:
        """(n, t, 80) → (n, t / 2, channels), rounded up."""
        x = frames.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last)
        first, *residuals, last = self._front
        x = _conv(x, first[0], 1)
        for stride, block in zip((2, 1, 2, 1), residuals, strict=True):
            inner = F.relu_(F.conv2d(x, *block[0], stride=(stride, 1), padding=1))
            inner = F.conv2d(inner, *block[1], padding=1)
            beside = F.conv2d(x, *block[2], stride=(stride, 1)) if len(block) > 2 else x
            x = F.relu_(inner.add_(beside))
        x = _conv(x, last[0], 2)
        x = F.relu_(F.conv1d(x.reshape(x.shape[0], -1, x.shape[-1]), *self._tdnn, stride=2, padding=2))
        return x.transpose(1, 2)

    def _run_block(self, block: _Block, x: Tensor) -> Tensor:
        n, steps, channels = x.shape
        every = x.new_empty(n, steps, channels + len(block.layers) * self._growth)
        every[:, :, :channels] = x
        for layer in block.layers:
            inner = torch.relu_(torch.addcmul(layer.shift, every[:, :, :channels], layer.scale))
            inner = torch.relu_(torch.addmm(layer.narrow_bias, inner.view(n * steps, -1), layer.narrow))
            inner = inner.view(n, steps, -1)
            # The mean over the window plus that over its part of 100 steps, which is all of it.
            context = torch.relu_(torch.addmm(layer.context_bias, 2 * inner.mean(dim=1), layer.context))
            mask = torch.sigmoid_(torch.addmm(layer.mask_bias, context, layer.mask))
            local = F.conv2d(
                inner.transpose(1, 2)[:, :, None],
                layer.local,
                padding=(0, layer.dilation),
                dilation=(1, layer.dilation),
            )
            torch.mul(
                local[:, :, 0].transpose(1, 2),
                mask[:, None],
                out=every[:, :, channels : channels + self._growth],
            )
            channels += self._growth
        inner = torch.relu_(torch.addcmul(block.shift, every, block.scale))
        return (inner.view(n * steps, -1) @ block.transit).view(n, steps, -1)

    def _normalisation(self, name: str) -> tuple[Tensor, Tensor]:
        """Scale and shift of a batch normalisation, fp32."""
        at = self._given
        scale = torch.rsqrt(at[f"{name}.running_var"] + _EPSILON)
        if f"{name}.weight" in at:
            scale = scale * at[f"{name}.weight"]
        shift = -at[f"{name}.running_mean"] * scale
        return scale, shift + at[f"{name}.bias"] if f"{name}.bias" in at else shift

    def _scale_shift(self, name: str) -> tuple[Tensor, Tensor]:
        scale, shift = self._normalisation(name)
        return self._there(scale), self._there(shift)

    def _folded(self, convolution: str, name: str) -> tuple[Tensor, Tensor]:
        """Weight and bias of a convolution followed by a batch normalisation."""
        scale, shift = self._normalisation(name)
        weight = self._given[f"{convolution}.weight"]
        folded = self._there(weight * scale.view(-1, *[1] * (weight.dim() - 1)))
        if weight.dim() == 4:
            folded = folded.contiguous(memory_format=torch.channels_last)
        return folded, self._there(shift)

    def _folded_front(self) -> list[list[tuple[Tensor, Tensor]]]:
        made = [[self._folded("head.conv1", "head.bn1")]]
        for stage, _ in _STAGES:
            for block in ("0", "1"):
                at = f"head.{stage}.{block}"
                parts = [self._folded(f"{at}.conv{i}", f"{at}.bn{i}") for i in (1, 2)]
                if block == "0":
                    parts.append(self._folded(f"{at}.shortcut.0", f"{at}.shortcut.1"))
                made.append(parts)
        return [*made, [self._folded("head.conv2", "head.bn2")]]

    def _block(self, number: int, layers: int, dilation: int) -> _Block:
        at = f"xvector.block{number}"
        scale, shift = self._scale_shift(f"xvector.transit{number}.nonlinear.batchnorm")
        transit = self._matrix(f"xvector.transit{number}.linear.weight")
        made = tuple(self._dense_layer(f"{at}.tdnnd{i}", dilation) for i in range(1, layers + 1))
        return _Block(made, scale, shift, transit)

    def _dense_layer(self, at: str, dilation: int) -> _Dense:
        scale, shift = self._scale_shift(f"{at}.nonlinear1.batchnorm")
        narrow, narrow_bias = self._folded(f"{at}.linear1", f"{at}.nonlinear2.batchnorm")
        cam = f"{at}.cam_layer"
        local = self._there(self._given[f"{cam}.linear_local.weight"][:, :, None])
        return _Dense(
            scale,
            shift,
            narrow[:, :, 0].T.contiguous(),
            narrow_bias,
            local.contiguous(memory_format=torch.channels_last),
            dilation,
            self._matrix(f"{cam}.linear1.weight"),
            self._there(self._given[f"{cam}.linear1.bias"]),
            self._matrix(f"{cam}.linear2.weight"),
            self._there(self._given[f"{cam}.linear2.bias"]),
        )

    def _matrix(self, name: str) -> Tensor:
        """A 1×1 convolution as a matrix (inputs, outputs)."""
        return self._there(self._given[name][:, :, 0].T.contiguous())

    def _there(self, value: Tensor) -> Tensor:
        return value.to(device=self._device, dtype=self._dtype)


def _conv(x: Tensor, folded: tuple[Tensor, Tensor], stride: int) -> Tensor:
    return F.relu_(F.conv2d(x, *folded, stride=(stride, 1), padding=1))
