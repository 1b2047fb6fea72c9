"""How many tiles an image is cut into, and how many there are with the one of the whole image."""

from __future__ import annotations


def nearest_grid(width: int, height: int, *, tile: int, max_tiles: int, min_tiles: int = 1) -> tuple[int, int]:
    """Columns and rows of the grid whose proportions are nearest the image's.

    Of equally near ones a larger grid is taken only while the image has more than half its pixels. The formula is
    ``find_closest_aspect_ratio`` of InternVL's ``dynamic_preprocess``; LFM2-VL has it too, and Transformers as
    ``get_optimal_tiled_canvas``.

    Args:
        width, height: of the image, in pixels.
        tile: side of a tile, in pixels.
        max_tiles, min_tiles: bounds of columns times rows.
    """
    grids = [(w, h) for w in range(1, max_tiles + 1) for h in range(1, max_tiles // w + 1) if w * h >= min_tiles]
    best, least = (1, 1), float("inf")
    for columns, rows in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        difference = abs(width / height - columns / rows)
        is_filled = width * height > 0.5 * tile * tile * columns * rows
        if difference < least or (difference == least and is_filled):
            best, least = (columns, rows), difference
    return best


def with_overview(n_tiles: int) -> int:
    """Tiles of an image; several come with one more, of the whole image."""
    return n_tiles + 1 if n_tiles > 1 else n_tiles
