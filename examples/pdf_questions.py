"""Questions to a folder of PDFs, with LangChain: `python examples/pdf_questions.py [FOLDER]`.

1. `attar.build_index` reads the PDFs in chunks and makes a compressed store.
2. `AttarRetriever` finds the passages that a question needs, with the file they come from.
3. A prompt puts them in front of the question. With `--model` LangChain's chat model of that name
   answers; without it the prompt is printed, which is what such a model would get.

Without FOLDER a few abstracts of SciFact are written as PDFs first. `--quick` takes fewer.
"""

import argparse
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough

import attar
from attar.retrieval.langchain import AttarRetriever
from attar.retrieval.sources import read_source

ENCODER = "all-MiniLM-L6-v2"
SCIFACT = Path(__file__).parent / "data" / "scifact"
PROMPT = ChatPromptTemplate.from_template(
    "Answer from these passages alone, and name the file.\n\n{passages}\n\nQuestion: {question}"
)


def write_pdfs(folder: Path, count: int) -> None:
    """Abstracts as PDFs of one page, with text that can be read back."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    folder.mkdir(parents=True)
    with mpl.rc_context({"pdf.fonttype": 42, "font.size": 9}):
        for number, document in enumerate(read_source(SCIFACT)):
            if number == count:
                break
            page = Figure(figsize=(8.3, 11.7))
            text = document.text.encode("ascii", "replace").decode().replace("$", "USD ")
            page.text(0.08, 0.95, "\n".join(textwrap.wrap(text, 100)), va="top")
            page.savefig(folder / f"{document.id}.pdf")


def passages(documents: list[Document]) -> str:
    """Retrieved chunks as a block of text, each under the file that it is from."""
    return "\n\n".join(f"[{d.metadata.get('chunk_of', d.id)}] {d.page_content}" for d in documents)


def chain(store: attar.Store, model: str | None, k: int) -> Any:
    """Question -> retriever -> prompt -> model."""
    retriever = AttarRetriever(store=store, k=k)
    asked = {
        "passages": retriever | RunnableLambda(passages),
        "question": RunnablePassthrough(),
    }
    if model is None:
        return asked | PROMPT | RunnableLambda(lambda prompt: prompt.to_string())
    from langchain.chat_models import init_chat_model

    return asked | PROMPT | init_chat_model(model) | RunnableLambda(lambda said: said.text)


def main() -> int:
    """Build, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="of PDFs")
    parser.add_argument("--question", default="Does vitamin D change the risk of infections?")
    parser.add_argument("--model", help="such as openai:gpt-4o-mini, for LangChain")
    parser.add_argument("-k", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = given.folder
        if folder is None:
            folder = Path(work) / "pdfs"
            write_pdfs(folder, 12 if given.quick else 200)
        out = Path(work) / "index"
        with attar.build_index(folder, out, ENCODER, "waterfill@8x", chunk="600/60") as built:
            facts = built.info()
            print(f"{facts['n']} chunks, {facts['bytes_per_vector']} bytes a vector")
        with attar.open(out, encoder=ENCODER) as store:
            print(chain(store, given.model, given.k).invoke(given.question))
    return 0


if __name__ == "__main__":
    sys.exit(main())
