"""YAML that may be read: checked event by event, before anything is built from it.

PyYAML takes the last of two equal keys without a word, follows aliases to any size, and converts what a tag asks for
with whatever exception that ends in; its C reader, which is recursive, crashes on deep nesting. All of that shows in
the stream of events, which takes no memory; so no loader of our own is needed, and libyaml reads what passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from hw.errors import BadInput

DEEPEST = 100
LONGEST_VALUE = 10_000
"""Characters of a key or value: a number of base 60, which YAML has, takes time by the square of its length."""
MOST_VALUES = 100_000
"""Keys, values, lists and mappings; those behind an alias count wherever it stands."""
_TOO_DEEP = f"lists and mappings more than {DEEPEST} deep were found"
_TAG = "tag:yaml.org,2002:"


@dataclass
class _Collection:
    """A list or mapping being read: levels and values of all in it, itself included, and its keys so far."""

    mapping: bool = False
    anchor: str | None = None
    depth: int = 1
    values: int = 1
    members: int = 0
    keys: set[str] = field(default_factory=set)

    def take(self, depth: int, values: int) -> None:
        """A member came to its end."""
        self.depth = max(self.depth, 1 + depth)
        self.values += values
        self.members += 1


def check(text: bytes) -> None:
    """Refuse what is there twice, tagged, too deep or too large; broken YAML is left to its reader.

    Raises:
        BadInput: one of these, with its line.
    """
    try:
        _walk(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        if "nesting depth" in str(error):  # libyaml looks ahead, and has a limit of its own
            raise BadInput(_TOO_DEEP) from None


def _walk(events: Iterator[yaml.Event]) -> None:
    open_ones = [_Collection()]
    anchors: dict[str, tuple[int, int]] = {}
    total = 0
    for event in events:
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        depth, values = 0, 1
        if isinstance(event, yaml.CollectionStartEvent):
            _check_tag(event.tag, line)
            open_ones.append(_Collection(isinstance(event, yaml.MappingStartEvent), event.anchor))
        elif isinstance(event, yaml.ScalarEvent):
            _check_scalar(event, open_ones[-1], line)
            anchors[event.anchor or ""] = depth, values
            open_ones[-1].take(depth, values)
        elif isinstance(event, yaml.AliasEvent):
            if any(each.anchor == event.anchor for each in open_ones):
                raise BadInput(f"line {line}: *{event.anchor} stands within &{event.anchor}, and would hold itself")
            depth, values = anchors.get(event.anchor or "", (depth, values))
            open_ones[-1].take(depth, values)
        elif isinstance(event, yaml.CollectionEndEvent):
            ended, values = open_ones.pop(), 0
            anchors[ended.anchor or ""] = ended.depth, ended.values
            open_ones[-1].take(ended.depth, ended.values)
        else:
            values = 0
        total += values
        if len(open_ones) - 1 + depth > DEEPEST:
            raise BadInput(_TOO_DEEP)
        if total > MOST_VALUES:
            raise BadInput(f"line {line}: more than {MOST_VALUES} values up to here, those behind aliases counted")


def _check_tag(tag: str | None, line: int) -> None:
    if tag is not None:
        told = tag.replace(_TAG, "!!")
        raise BadInput(f"line {line}: the tag {told} was found; plain YAML without tags is wanted")


def _check_scalar(event: yaml.ScalarEvent, inside: _Collection, line: int) -> None:
    _check_tag(event.tag, line)
    if len(event.value) > LONGEST_VALUE:
        raise BadInput(f"line {line}: a text of {len(event.value)} characters, at most {LONGEST_VALUE} are wanted")
    if inside.mapping and inside.members % 2 == 0:
        if event.value in inside.keys:
            raise BadInput(f"line {line}: the key {event.value} is there twice; remove one of them")
        inside.keys.add(event.value)
