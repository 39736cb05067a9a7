"""The parts of timm's vision transformers: a stem, stages and a tail whose map is pooled.

Between the parts the tokens [N, C, 1, T] are one row of a map: the prefix (the class token, then the
registers), then the patches, row after row of the image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class TokenStem(nn.Module):
    """Images [N, 3, R, R] to tokens with their position embeddings, for `side` x `side` patches.

    The embeddings stay those of the grid of the pretraining; what is added is a bicubic resampling of them,
    as timm makes it. It is linear, so it is two products with a matrix, which are exported and trained.
    """

    def __init__(self, net: Any, side: int) -> None:
        super().__init__()
        self.projection, self.norm = net.patch_embed.proj, net.norm_pre
        self.cls_token, self.reg_token, self.pos_embed = net.cls_token, net.reg_token, net.pos_embed
        self.has_class_place = not net.no_embed_class
        self.grid = int(net.patch_embed.grid_size[0])
        self.resampling = nn.Buffer(_resampling(self.grid, side), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        embedding, class_token = self.pos_embed[0], self.cls_token
        if self.has_class_place:
            class_token, embedding = class_token + embedding[:1], embedding[1:]
        places = embedding.T.reshape(-1, self.grid, self.grid)
        patches = self.projection(images) + self.resampling @ places @ self.resampling.T
        prefix = class_token if self.reg_token is None else torch.cat([class_token, self.reg_token], 1)
        tokens = torch.cat([prefix.expand(images.shape[0], -1, -1), patches.flatten(2).transpose(1, 2)], 1)
        return _as_row(self.norm(tokens))


class TokenStage(nn.Module):
    """Some transformer blocks."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = blocks

    def forward(self, row: Tensor) -> Tensor:
        return _as_row(self.blocks(_as_tokens(row)))


class PatchMap(nn.Module):
    """The patches as a map [N, C, side, side], without the prefix."""

    def __init__(self, prefix: int, side: int) -> None:
        super().__init__()
        self.prefix, self.side = prefix, side

    def forward(self, row: Tensor) -> Tensor:
        patches = row[:, :, 0, self.prefix :]
        return patches.reshape(-1, patches.shape[1], self.side, self.side)


class TokenTail(nn.Module):
    """The last blocks and the norm, then a map [N, 2 C, side, side]: the patches, and the class token.

    The class token is the same at every place, so the mean of the map holds both.
    """

    def __init__(self, blocks: nn.Module, norm: nn.Module, patches: PatchMap) -> None:
        super().__init__()
        self.blocks, self.norm, self.patches = blocks, norm, patches

    def forward(self, row: Tensor) -> Tensor:
        row = _as_row(self.norm(self.blocks(_as_tokens(row))))
        patches = self.patches(row)
        return torch.cat([patches, row[:, :, :, :1].expand_as(patches)], dim=1)


def _as_tokens(row: Tensor) -> Tensor:
    """[N, C, 1, T] to [N, T, C]."""
    return row.squeeze(2).transpose(1, 2)


def _as_row(tokens: Tensor) -> Tensor:
    """[N, T, C] to [N, C, 1, T]."""
    return tokens.transpose(1, 2).unsqueeze(2)


def _resampling(grid: int, side: int) -> Tensor:
    """[side, grid] the matrix of timm's bicubic resampling along one axis."""
    basis = torch.eye(grid)[None, None]
    return nn.functional.interpolate(basis, (side, grid), mode="bicubic", antialias=True)[0, 0]
