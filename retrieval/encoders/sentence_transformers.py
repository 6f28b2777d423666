"""Texts to vectors with a model of the sentence-transformers library."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from attar.retrieval.encoders.fingerprint import fingerprint_of
from attar.retrieval.encoders.model_folder import PACKAGED_MODEL, deciding_files, packaged_folder
from attar.retrieval.encoders.texts import checked_texts, checked_vectors
from attar.retrieval.encoders.torch_threads import torch_threads
from attar.retrieval.extras import require


@final
@dataclass(frozen=True)
class SentenceTransformers:
    """A sentence-transformers model (Reimers and Gurevych, arXiv 1908.10084), hub or local.

    The model is loaded on first use. `all-MiniLM-L6-v2` comes from the package of extra `text` and
    needs no network; every other name is a folder or a model of the hub.

    model: hub name or local folder.
    batch_size: texts per forward pass; all texts of a call go to the library at once, which sorts
    them by length, so pass many.
    max_tokens: longer texts are cut; None keeps the model's own limit.
    query_prompt, document_prompt: put in front of every text; None keeps the model's own prompts,
    "" switches them off.
    dimensions: keep only the first so many (Matryoshka models); None keeps all.
    device: as torch spells it; None lets the library choose.
    threads: CPU threads of torch during a call; restored afterwards. None leaves them alone.
    """

    model: str = PACKAGED_MODEL
    batch_size: int = field(default=32, kw_only=True)
    max_tokens: int | None = field(default=None, kw_only=True)
    query_prompt: str | None = field(default=None, kw_only=True)
    document_prompt: str | None = field(default=None, kw_only=True)
    dimensions: int | None = field(default=None, kw_only=True)
    device: str | None = field(default=None, kw_only=True)
    threads: int | None = field(default=None, kw_only=True)
    _lock: threading.Lock = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("batch_size", "max_tokens", "dimensions", "threads"):
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
        return PACKAGED_MODEL if self._packaged else f"sentence-transformers:{self.model}"

    @property
    def dim(self) -> int:
        """Dimensions d of the vectors."""
        dim = self._loaded.get_embedding_dimension()
        if dim is None:
            raise ValueError(f"Model {self.model!r} does not tell its dimension; use another one.")
        return int(dim)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, tokenizer and module settings (bytes of the files), limit and prompts.

        Limit and prompts are those in force, whether they were given here or by the model.
        """
        parts: list[tuple[str, str | Path]] = [
            (file.relative_to(self.folder).as_posix(), file) for file in deciding_files(self.folder)
        ]
        parts += [
            ("modules", " ".join(type(module).__name__ for module in self._loaded)),
            ("max_tokens", str(self._loaded.max_seq_length)),
            ("dimensions", str(self.dim)),
            ("query_prompt", self._prompt(self.query_prompt, ("query",))),
            (
                "document_prompt",
                self._prompt(self.document_prompt, ("document", "passage", "corpus")),
            ),
        ]
        return fingerprint_of(parts)

    @cached_property
    def folder(self) -> Path:
        """Where the model's files lie; a hub model is fetched when it is not there."""
        if self._packaged:
            return packaged_folder()
        if Path(self.model).is_dir():
            return Path(self.model)
        # Loading fetches what the model needs and nothing else; the snapshot is then local.
        _ = self._loaded
        hub = require("huggingface_hub", "text")
        name = self.model if "/" in self.model else f"sentence-transformers/{self.model}"
        return Path(hub.snapshot_download(name, local_files_only=True))

    @property
    def tokenizer_file(self) -> Path | None:
        """The model's tokenizer.json, for chunking by its tokens; None when it has none."""
        file = self.folder / "tokenizer.json"
        return file if file.is_file() else None

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Documents to float32 [n d]."""
        return self._encode(texts, "encode_document", self.document_prompt)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Queries to float32 [m d]."""
        return self._encode(texts, "encode_query", self.query_prompt)

    @property
    def _packaged(self) -> bool:
        return self.model in (PACKAGED_MODEL, f"sentence-transformers/{PACKAGED_MODEL}")

    @cached_property
    def _loaded(self) -> Any:
        library = require("sentence_transformers", "text")
        place = str(packaged_folder()) if self._packaged else self.model
        try:
            with _no_progress_bar():
                model = library.SentenceTransformer(
                    place, device=self.device, truncate_dim=self.dimensions
                )
        except (OSError, ValueError) as error:
            raise ValueError(
                f"sentence-transformers cannot load {self.model!r} ({error}); give a local folder, "
                f"a model of the hub (which needs the network once), or {PACKAGED_MODEL!r}."
            ) from error
        if self.max_tokens is not None:
            model.max_seq_length = self.max_tokens
        return model

    def _prompt(self, given: str | None, names: tuple[str, ...]) -> str:
        """The prompt in force: the given one, else the model's, as the library chooses it."""
        if given is not None:
            return given
        prompts = self._loaded.prompts
        for name in (*names, self._loaded.default_prompt_name):
            if name in prompts:
                return str(prompts[name])
        return ""

    def _encode(self, texts: Sequence[str], verb: str, prompt: str | None) -> NDArray[np.float32]:
        checked = checked_texts(texts, self.name)
        if not checked:
            return np.zeros((0, self.dim), np.float32)
        # Fast tokenizers refuse to be used by two threads at once ("Already borrowed").
        with self._lock, torch_threads(self.threads):
            vectors = getattr(self._loaded, verb)(
                checked, prompt=prompt, batch_size=self.batch_size, show_progress_bar=False
            )
        return checked_vectors(vectors, len(checked), self.dim, self.name)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading draws a bar of its own on stderr; keep it from running into ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
