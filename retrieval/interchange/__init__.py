"""Collections of other libraries in, stores out, and back."""

from attar.retrieval.interchange.collection import Collection as Collection
from attar.retrieval.interchange.export_faiss import export_faiss as export_faiss
from attar.retrieval.interchange.find import open_collection as open_collection
from attar.retrieval.interchange.shrink import Shrunk as Shrunk
from attar.retrieval.interchange.shrink import shrink as shrink
