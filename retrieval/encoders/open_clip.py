"""Texts and images to vectors of one space with a CLIP model of the open_clip library."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.encoders.fingerprint import fingerprint_of
from attar.retrieval.encoders.texts import checked_texts, checked_vectors
from attar.retrieval.encoders.torch_threads import torch_threads
from attar.retrieval.extras import require

if TYPE_CHECKING:
    from PIL.Image import Image


@final
@dataclass(frozen=True)
class OpenCLIP:
    """A CLIP model (Radford et al., arXiv 2103.00020): photographs are found by sentences.

    Vectors are normalised, as the model was trained to be compared. The model is loaded on first
    use.

    arch: architecture as open_clip names it, for example "ViT-B-32".
    pretrained: tag of published weights, or the path of a checkpoint.
    batch_size: texts or images per forward pass.
    device: as torch spells it. threads: CPU threads of torch during a call; None leaves them alone.
    """

    arch: str
    pretrained: str
    batch_size: int = field(default=32, kw_only=True)
    device: str = field(default="cpu", kw_only=True)
    threads: int | None = field(default=None, kw_only=True)
    _lock: threading.Lock = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.pretrained:
            raise ValueError(
                "pretrained names weights or a checkpoint file, got nothing; without it the "
                "vectors would be random."
            )
        for name in ("batch_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}; leave it out instead.")
        object.__setattr__(self, "_lock", threading.Lock())

    def __getstate__(self) -> dict[str, Any]:
        # The loaded model and its lock stay behind: the copy loads its own.
        return {each.name: getattr(self, each.name) for each in fields(self) if each.init}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    @property
    def name(self) -> str:
        """What `make_encoder` takes to make this encoder again (with default settings)."""
        return f"open-clip:{self.arch}/{self.pretrained}"

    @property
    def dim(self) -> int:
        """Dimensions d of the joint space."""
        return int(self._config["embed_dim"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all weights by name, the architecture, the image preprocessing, text length."""
        parts: list[tuple[str, str | bytes | memoryview]] = [
            ("config", repr(sorted(self._config.items()))),
            ("preprocess", repr(self._preprocess)),
            ("context_length", str(self._tokenizer.context_length)),
        ]
        for name, tensor in sorted(self._model.state_dict().items()):
            array = tensor.detach().cpu().float().contiguous().numpy()
            parts.append((f"{name} {list(array.shape)}", array.tobytes()))
        return fingerprint_of(parts)

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts to float32 [n d], normalised."""
        return self._encode_texts(texts)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Texts to float32 [m d], normalised; the same as for documents."""
        return self._encode_texts(texts)

    def encode_images(self, images: "Sequence[Image]") -> NDArray[np.float32]:
        """Images to float32 [n d], normalised, in the space of the texts."""
        library = require("PIL.Image", "vision")
        for row, image in enumerate(images):
            if not isinstance(image, library.Image):
                raise TypeError(
                    f"Encoder {self.name!r} takes PIL images, got {type(image).__name__} in row "
                    f"{row}; open it with PIL.Image.open."
                )
        torch = require("torch", "vision")
        return self._in_batches(
            list(images),
            lambda batch: self._model.encode_image(
                torch.stack([self._preprocess(image) for image in batch]).to(self.device),
                normalize=True,
            ),
        )

    def _encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._in_batches(
            checked_texts(texts, self.name),
            lambda batch: self._model.encode_text(
                self._tokenizer(batch).to(self.device), normalize=True
            ),
        )

    def _in_batches(self, items: list[Any], encode: Any) -> NDArray[np.float32]:
        torch = require("torch", "vision")
        parts = [np.zeros((0, self.dim), np.float32)]
        with self._lock, torch_threads(self.threads), torch.inference_mode():
            for start in range(0, len(items), self.batch_size):
                part = encode(items[start : start + self.batch_size])
                parts.append(part.float().cpu().numpy())
        return checked_vectors(np.concatenate(parts), len(items), self.dim, self.name)

    @cached_property
    def _config(self) -> dict[str, Any]:
        config = require("open_clip", "vision").get_model_config(self.arch)
        if config is None:
            raise ValueError(
                f"open_clip knows no architecture {self.arch!r}; open_clip.list_models() has them."
            )
        return dict(config)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        library = require("open_clip", "vision")
        _ = self._config
        known = library.list_pretrained_tags_by_model(self.arch)
        if self.pretrained not in known and not Path(self.pretrained).is_file():
            raise ValueError(
                f"Weights of {self.arch} are {', '.join(known) or 'not published'} or a checkpoint "
                f"file, got {self.pretrained!r}; choose one of them."
            )
        model, _, preprocess = library.create_model_and_transforms(
            self.arch, pretrained=self.pretrained, device=self.device
        )
        return model.eval(), preprocess

    @property
    def _model(self) -> Any:
        return self._loaded[0]

    @property
    def _preprocess(self) -> Any:
        return self._loaded[1]

    @cached_property
    def _tokenizer(self) -> Any:
        return require("open_clip", "vision").get_tokenizer(self.arch)
