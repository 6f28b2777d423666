"""Where the tokens of the sub-images go in the prompt."""

GLOBAL_TAG = "<global_img>"


def crop_tag(row: int, column: int) -> str:
    """The tag in front of a crop."""
    return f"<crop_img_row{row}_col{column}>"


def special_tokens(max_side: int) -> list[str]:
    """All tags that a tokenizer should hold as single tokens, for grids up to max_side."""
    sides = range(max_side)
    return [GLOBAL_TAG, *(crop_tag(r, c) for r in sides for c in sides)]


def layout(grid: tuple[int, int], tokens_per_view: int = 1, placeholder: str = "<image>") -> str:
    """The prompt of one image: `<global_img><image><crop_img_row0_col0><image>...`.

    grid: (rows, columns) of crops. tokens_per_view: how often the placeholder repeats; 1 is the
    published text, where one placeholder later becomes 64 embeddings; the transformers library
    wants one placeholder per embedding.
    """
    rows, columns = grid
    if rows < 1 or columns < 1 or tokens_per_view < 1:
        raise ValueError(
            f"grid and tokens_per_view must be positive, got {grid}, {tokens_per_view}."
        )
    tags = [GLOBAL_TAG, *(crop_tag(r, c) for r in range(rows) for c in range(columns))]
    return "".join(tag + placeholder * tokens_per_view for tag in tags)


def num_tokens(grid: tuple[int, int], tokens_per_view: int) -> int:
    """Image tokens of one image: every crop and the whole image; tags are not counted."""
    return (grid[0] * grid[1] + 1) * tokens_per_view
