"""XML from files that nobody vouches for, as a tree of elements with their local names.

A document type is refused, and with it entities and references to other files; so is a tree that
is deeper or has more elements than any diffractometer writes. Namespaces are dropped from names
(`xsi:type` is `type`); that of the root is kept as its attribute `xmlns`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from operando_readers._numbers import is_number
from operando_readers._reader import FormatError

Array = npt.NDArray[np.float64]

MOST_ELEMENTS = 2_000_000
DEEPEST = 100
CHUNK = 1 << 16
MOST_FACTS = 20_000
LONGEST_FACT = 2000
LONGEST_QUOTE = 40


class _Tree:
    """Builds the tree and counts."""

    def __init__(self, what: str) -> None:
        self.builder = TreeBuilder()
        self._what = what
        self._depth = self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, tag = name.rpartition(" ")
        named = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        if not self._count and namespace:
            named["xmlns"] = namespace
        self._count += 1
        self._depth += 1
        if self._count > MOST_ELEMENTS or self._depth > DEEPEST:
            raise FormatError(
                f"{self._what}: XML of more than {MOST_ELEMENTS} elements or {DEEPEST} levels; "
                "refused"
            )
        self.builder.start(tag, named)

    def end(self, name: str) -> None:
        self._depth -= 1
        self.builder.end(name.rpartition(" ")[2])

    def doctype(self, *_: object) -> None:
        raise FormatError(f"{self._what}: a document type is declared in the XML; refused")


def document(raw: bytes, *, what: str) -> Element:
    """Return the root of an XML document.

    Raises
    ------
    FormatError
        Not well-formed, cut short, in an encoding that is not known, or refused (see above).
    """
    tree = _Tree(what)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.builder.data
    parser.StartDoctypeDeclHandler = tree.doctype
    try:
        for at in range(0, len(raw), CHUNK):
            parser.Parse(raw[at : at + CHUNK], False)
        parser.Parse(b"", True)
        return tree.builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise FormatError(f"{what}: the XML is damaged or cut short ({error})") from error


def text_at(element: Element, path: str) -> str:
    """Return the text of the first element at `path`, without the space around it; "" for none."""
    return (element.findtext(path) or "").strip()


def number_at(element: Element, path: str) -> float | None:
    """Return the number at `path`; None where there is none that is finite."""
    return number(text_at(element, path))


def number(text: str | None) -> float | None:
    """Return a text as a finite number, None where it is not one.

    >>> number(" 1.5406 "), number("-"), number("nan")
    (1.5406, None, None)
    """
    field = (text or "").strip()
    if not is_number(field):
        return None
    value = float(field)
    return value if np.isfinite(value) else None


def numbers(text: str | None, *, what: str) -> Array:
    """Return a list of numbers between white space.

    Raises
    ------
    FormatError
        One is not a number: says which.
    """
    fields = (text or "").split()
    try:
        values = np.array(fields, np.float64)
    except ValueError:
        values = None
    if values is None or "_" in (text or ""):
        at, bad = next((at, field) for at, field in enumerate(fields, 1) if not is_number(field))
        raise FormatError(f"{what}: value {at} is {bad[:LONGEST_QUOTE]!r}; expected a number")
    return values


def flat(element: Element, *, skip: Collection[str] = ()) -> dict[str, str]:
    """Return what a tree says as path -> text, attributes as path@name, repeats numbered from 2.

    Elements called as in `skip` are left out with all below them; long texts are shortened.
    """
    found: dict[str, str] = {}
    for path, text in _facts(element, "", skip):
        if len(found) == MOST_FACTS:
            break
        found[path] = text[:LONGEST_FACT]
    return found


def _facts(element: Element, path: str, skip: Collection[str]) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        if value:
            yield f"{path}@{name}", value
    if text := (element.text or "").strip():
        yield path, text
    seen: Counter[str] = Counter()
    for child in element:
        if child.tag in skip:
            continue
        seen[child.tag] += 1
        number = f"[{seen[child.tag]}]" if seen[child.tag] > 1 else ""
        step = f"{child.tag}{number}"
        yield from _facts(child, f"{path}/{step}" if path else step, skip)
