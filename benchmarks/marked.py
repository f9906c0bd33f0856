"""The part of a document between two marks, which a script writes anew."""


def replaced(text: str, marks: tuple[str, str], new: str) -> str:
    """Return the document with other text between its marks, which stay."""
    begin, end = marks
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"The document lacks the lines {begin!r} and {end!r}.")
    return f"{before}{begin}{new}{end}{after}"
