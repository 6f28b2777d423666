"""Any picture -> normalised pixels, or an error that says what is wrong with it."""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from attar.vision.vit import ViT

Picture = Any
"""A PIL image, a path, bytes, or an array [h w], [h w 3] or [h w 4]: uint8, or float 0..1."""


# What Pillow raises for damaged pixels, headers, EXIF blocks and bombs.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    UnidentifiedImageError,
    Image.DecompressionBombError,
)


class ImageError(ValueError):
    """A picture that cannot be read or has no meaning as one."""


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise ImageError(
            f"An image array must be [h w], [h w 3] or [h w 4] and not empty, got "
            f"{list(array.shape)}; put the channels last."
        )
    if array.dtype == np.uint8:
        return Image.fromarray(array)
    if array.dtype == np.uint16:
        return Image.fromarray((array / 257).round().astype(np.uint8))
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"An image array must be uint8, uint16 or float, got {array.dtype}.")
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise ImageError(
            "Float pixels must be finite and in 0..1, got NaN, infinity or a value outside; divide"
            " by 255, or convert to uint8."
        )
    return Image.fromarray((array * 255).round().astype(np.uint8))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Eight-bit RGB: 16 bits are scaled, transparency lies on white."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        levels = np.asarray(image).astype(np.float64)
        top = 1.0 if image.mode == "F" else 65535.0
        if not np.isfinite(levels).all() or levels.min() < 0 or levels.max() > top:
            raise ImageError(
                f"Pixels of mode {image.mode} must be finite and in 0..{top:.0f}, got "
                f"{levels.min()}..{levels.max()}; scale them first."
            )
        image = Image.fromarray((levels * (255 / top)).round().astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def open_image(picture: Picture) -> Image.Image:
    """Read a picture as 8-bit RGB, upright (EXIF), transparency on white. Raises ImageError."""
    name = str(picture) if isinstance(picture, str | Path) else type(picture).__name__
    try:
        if isinstance(picture, Tensor):
            picture = picture.detach().cpu().numpy()
        if isinstance(picture, np.ndarray):
            picture = _from_array(picture)
        elif isinstance(picture, bytes):
            picture = Image.open(io.BytesIO(picture))
        elif isinstance(picture, str | Path):
            picture = Image.open(picture)
        if not isinstance(picture, Image.Image):
            raise TypeError(
                f"A picture must be a PIL image, a path, bytes or an array, got {name}."
            )
        if 0 in picture.size:
            raise ImageError(f"A picture must have pixels, got {picture.size[0]} x 0 or 0 x h.")
        return _to_rgb(ImageOps.exif_transpose(picture))
    except ImageError:
        raise
    except FileNotFoundError:
        raise
    except _UNREADABLE as error:
        raise ImageError(
            f"Cannot read {name} as an image ({error}); the file is damaged, truncated, too large "
            "or of an unknown format."
        ) from error


@dataclass(frozen=True)
class ImageProcessor:
    """Pictures of any size -> one batch [b 3 H W].

    height, width: in pixels, multiples of the model's patch. mean, std: per channel, for 0..1.
    fit: "squash" ignores the aspect ratio, "crop" keeps the centre, "pad" keeps everything (the
    border is the mean colour, 0 after normalisation).
    """

    height: int
    width: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fit: str = "squash"

    def __post_init__(self) -> None:
        """Refuse what cannot be a size or a fit."""
        if self.fit not in ("squash", "crop", "pad"):
            raise ValueError(f'fit must be "squash", "crop" or "pad", got {self.fit!r}.')
        if self.height < 1 or self.width < 1:
            raise ValueError(f"Sizes must be positive, got {self.height} x {self.width}.")

    @classmethod
    def of(cls, vit: ViT, height: int = 0, width: int = 0, fit: str = "squash") -> "ImageProcessor":
        """The processor of a model; without sizes at the model's own resolution."""
        facts = vit.facts
        height = height or facts.grid[0] * facts.patch
        width = width or facts.grid[1] * facts.patch
        if height % facts.patch or width % facts.patch:
            raise ValueError(
                f"Sizes must be multiples of the patch ({facts.patch}), got {height} x {width}."
            )
        return cls(height, width, facts.mean, facts.std, fit)

    @property
    def crop_size(self) -> dict[str, int]:
        """The name that MLLM code asks for."""
        return {"height": self.height, "width": self.width}

    @property
    def image_mean(self) -> list[float]:
        """The name that MLLM code asks for."""
        return list(self.mean)

    @property
    def image_std(self) -> list[float]:
        """The name that MLLM code asks for."""
        return list(self.std)

    def resize(self, picture: Picture) -> Image.Image:
        """One picture at height x width, bicubic."""
        image, size = open_image(picture), (self.width, self.height)
        if self.fit == "squash":
            return image.resize(size, Image.Resampling.BICUBIC)
        if self.fit == "crop":
            return ImageOps.fit(image, size, Image.Resampling.BICUBIC)
        # Not ImageOps.pad: it loses very long images, whose short side rounds to no pixel.
        scale = min(self.width / image.width, self.height / image.height)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        red, green, blue = (round(255 * m) for m in self.mean)
        canvas = Image.new("RGB", size, (red, green, blue))
        corner = ((self.width - inner[0]) // 2, (self.height - inner[1]) // 2)
        canvas.paste(image.resize(inner, Image.Resampling.BICUBIC), corner)
        return canvas

    def normalise(self, image: Image.Image) -> Tensor:
        """An RGB image -> [3 h w] float32, whatever its size."""
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        mean, std = torch.tensor(self.mean)[:, None, None], torch.tensor(self.std)[:, None, None]
        return (pixels - mean) / std

    def __call__(self, pictures: Picture | Sequence[Picture]) -> Tensor:
        """One picture or a list, sizes mixed -> [b 3 height width] float32; [] gives b = 0."""
        many = pictures if isinstance(pictures, list | tuple) else [pictures]
        if not many:
            return torch.zeros(0, 3, self.height, self.width)
        return torch.stack([self.normalise(self.resize(picture)) for picture in many])

    def preprocess(
        self, images: Picture | Sequence[Picture], return_tensors: str = "pt", **_: Any
    ) -> dict[str, Tensor]:
        """The call that MLLM code makes: {"pixel_values": [b 3 height width]}."""
        if return_tensors != "pt":
            raise ValueError(f'return_tensors must be "pt", got {return_tensors!r}.')
        return {"pixel_values": self(images)}
