"""Text from outside, as it may stand on a page.

Without this a name could reorder what a reader sees around it, hide, or not be UTF-8 at all.
"""

CONTROLS = (*range(0x00, 0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0))
DIRECTION = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
SURROGATES = range(0xD800, 0xE000)
ESCAPES = {point: f"\\u{point:04x}" for point in (*CONTROLS, *DIRECTION, *SURROGATES)}


def visible(text: str) -> str:
    """`text` with control characters, direction marks and lone surrogates written as escapes."""
    return text.translate(ESCAPES)
