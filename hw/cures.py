"""What would do where a file is not of a record's form: the words and keys that msgspec's sentences leave out."""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import inspect

from hw.errors import nearest


def cure(record: Any, problem: str, text: bytes) -> str:
    """What to add to msgspec's sentence `problem` about a `record` in `text`; nothing where it says enough."""
    place = re.search(r" - at `\$([^`]*)`$", problem)
    steps = re.findall(r"\.(\w+)|(\[[^\]]*\])", place[1] if place else "")
    types = list(_alternatives(inspect.type_info(record)))
    outer, key = types, ""
    for name, _ in steps:
        outer, key = types, name
        types = [inner for each in types for inner in _inside(each, name)]
    if unknown := re.search(r"unknown field `([^`]*)`", problem):
        keys = sorted({field.encode_name for each in types for field in getattr(each, "fields", ())})
        return nearest(unknown[1], keys)
    if "nvalid enum value" in problem:
        words = [str(word) for each in types if isinstance(each, inspect.LiteralType) for word in each.values]
        return f"; wanted is {' or '.join(dict.fromkeys(words))}"
    if "nvalid value" in problem and steps:
        tags = [str(each.tag) for each in outer if isinstance(each, inspect.StructType) and each.tag_field == key]
        return f"; wanted is {' or '.join(tags)}" if tags else ""
    if re.search(r"Expected `(float|int)`, got `str`", problem) and re.search(rb"\b\d+[eE]\d", text):
        return "; YAML takes 1e30 for a text and 1.0e+30 for a number"
    return ""


def _alternatives(found: Any) -> Iterator[Any]:
    """The types of a union, or the one."""
    if isinstance(found, inspect.UnionType):
        for each in found.types:
            yield from _alternatives(each)
    else:
        yield found


def _inside(found: Any, name: str) -> Iterator[Any]:
    """Types of a struct's field, or of what a mapping or list holds."""
    if isinstance(found, inspect.StructType):
        for field in found.fields:
            if field.encode_name == name:
                yield from _alternatives(field.type)
    elif isinstance(found, inspect.DictType):
        yield from _alternatives(found.value_type)
    elif isinstance(found, inspect.ListType | inspect.SetType | inspect.VarTupleType):
        yield from _alternatives(found.item_type)
