"""Small corpora on disk, one of every kind."""

import csv
import gzip
import json

import numpy as np

RECORDS = [
    {"_id": "a", "title": "Ähren", "text": "Corn, grown in rows.", "year": 1999},
    {"_id": "b b", "title": "", "text": 'He said "no", twice.\nThen left.', "year": 2001},
    {"_id": "ü/3", "title": "Third", "text": "", "year": None},
    {"_id": "4", "title": "Long", "text": "One sentence. Another one. " * 30, "year": 2003},
]


def write_jsonl(path, records=RECORDS):
    content = "\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n"
    data = content.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_beir(folder, gz=False):
    folder.mkdir()
    end = ".jsonl.gz" if gz else ".jsonl"
    write_jsonl(folder / f"corpus{end}")
    write_jsonl(
        folder / f"queries{end}", [{"_id": "q1", "text": "corn"}, {"_id": "q2", "text": ""}]
    )
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\ta\t2\nq1\tb b\t0\nq2\t4\t1\n"
    )
    return folder


def write_csv(path, records=RECORDS, delimiter=","):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(records)
    return path


def write_parquet(path, records=RECORDS, rows=2):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(records)
    pyarrow.parquet.write_table(table, path, row_group_size=rows)
    return path


def pdf_bytes(text):
    """The smallest PDF with one line of text on one page, written by hand."""
    stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + table
    out += b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start
    return bytes(out)


def write_folder(folder):
    (folder / "sub").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.txt").write_text("hidden")
    (folder / "b.txt").write_text("\ufeffPlain text, with a mark in front.", encoding="utf-8")
    (folder / "sub" / "a.md").write_text("# Title\n\nParagraph one.\n\n## Part\n\nParagraph two.")
    (folder / "page.html").write_text(
        "<html><head><title>Page</title><style>p {color: red}</style></head><body><h1>Head</h1>"
        "<p>Seen &amp; read, <b>bold</b>.</p><script>var hidden = 1;</script></body></html>"
    )
    (folder / "paper.pdf").write_bytes(pdf_bytes("Hello from a page"))
    (folder / "picture.png").write_bytes(b"\x89PNG")
    return folder


def write_npy(path, n=20, d=3, ids=None):
    x = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    np.save(path, x)
    if ids is not None:
        path.with_name(f"{path.stem}_ids.json").write_text(json.dumps(ids))
    return path


KINDS = {
    "beir": lambda folder: write_beir(folder / "beir"),
    "beir gz": lambda folder: write_beir(folder / "beirgz", gz=True),
    "jsonl": lambda folder: write_jsonl(folder / "x.jsonl"),
    "jsonl gz": lambda folder: write_jsonl(folder / "x.jsonl.gz"),
    "csv": lambda folder: write_csv(folder / "x.csv"),
    "csv gz": lambda folder: write_csv(folder / "x.csv.gz"),
    "tsv": lambda folder: write_csv(folder / "x.tsv", delimiter="\t"),
    "parquet": lambda folder: write_parquet(folder / "x.parquet"),
    "folder": lambda folder: write_folder(folder / "files"),
    "npy": lambda folder: write_npy(folder / "x.npy"),
}
"""Kind -> writes one into an empty folder and returns its path."""
