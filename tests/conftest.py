"""Settings that every test shares: few threads, no network for hubs, nothing tuned per machine."""

import os

# Two shared cores: more threads than cores make BLAS and torch many times slower.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
