"""What a plan chooses from: the native code at many rates, and one of every other family."""

CANDIDATES = (
    "float32",
    "float16",
    "int8",
    "int4",
    "pca50%+float8_e4m3",
    "eden4",
    "eden2",
    "binary:scaled",
    *(f"waterfill@{ratio}x" for ratio in (4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64)),
)
"""Spec strings. All are fitted without queries, as `build-index` fits them."""
