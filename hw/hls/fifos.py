"""FIFO depths: from edges of the network to streams of hls4ml's graph, which holds more layers than the network.

hls4ml puts a copying layer behind every fork and a padding layer before every padded convolution, and we a row selector
before some. The first stream that serves one edge alone gets that edge's depth; the other streams on its way only hand
pixels on.
"""

import difflib
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from hw.errors import BadInput
from hw.network import Edge, Network

PASSING_DEPTH = 2
"""Enough for a stream that hands on one pixel a cycle."""
MARGIN = 2.0
"""How many times the depth that the model asks for a project's FIFOs get, `MORE` pixels added."""
MORE = 2


def checked(network: Network, depths: Mapping[Edge, int] | Mapping[str, int]) -> dict[str, int]:
    """`depths` by the edges' text, "a -> b".

    Raises:
        BadInput: an edge that is not there, or a depth below 1.
    """
    return checked_edges(network.name, [str(edge) for edge in network.edges], depths)


def checked_edges(
    network: str, known: Collection[str], depths: Mapping[Edge, int] | Mapping[str, int]
) -> dict[str, int]:
    """`depths` by the edges' text, all of them `known` edges of the network of that name.

    Raises:
        BadInput: as `checked`.
    """
    named = {str(edge): int(depth) for edge, depth in depths.items()}
    for edge, depth in named.items():
        if edge not in known:
            nearest = (*difflib.get_close_matches(edge, known, 1), *known)[:1]
            instead = f"; {nearest[0]} is the nearest" if nearest else ""
            raise BadInput(f"FIFO {edge}: network {network} has no such edge{instead}")
        if depth < 1:
            raise BadInput(f"FIFO {edge}: a depth of {depth} was found, at least 1 is wanted")
    return named


def check_margin(margin: float) -> None:
    """Demand a margin of 1 or more.

    Raises:
        BadInput: it is less, or no number.
    """
    if not 1 <= margin < math.inf:
        raise BadInput(f"FIFO margin: {margin:g} was found, a number of at least 1 is wanted")


def with_margin(depth: int, whole_frame: int, margin: float = MARGIN) -> int:
    """The depth that a project's FIFO gets: `margin` times the model's plus `MORE`, at most a whole frame.

    hls4ml's own depth is a whole frame; below `PASSING_DEPTH` none is given.

    Raises:
        BadInput: as `check_margin`.
    """
    check_margin(margin)
    return max(PASSING_DEPTH, min(math.ceil(margin * depth) + MORE, whole_frame))


def apply(model: Any, names: Mapping[str, str], depths: Mapping[str, int]) -> None:
    """Write `depths` (by "a -> b") into hls4ml's graph; `names` are the identifiers of the network's own layers."""
    own = {identifier: name for name, identifier in names.items()}
    for node, output, variable in _streams(model):
        source = _source(model, node, own)
        targets = set(_targets(node, output, own))
        wanted = [depths.get(f"{source} -> {target}") for target in targets]
        given = [depth for depth in wanted if depth is not None]
        if given:
            first = len(targets) == 1 and (node.name in own or node.class_name == "Clone")
            variable.pragma = ("stream", given[0] if first else PASSING_DEPTH)


def depths_of(model: Any) -> dict[str, int]:
    """The depth of every stream inside the model, by its name in the C++ source; top-level ports have none."""
    ports = {id(variable) for variable in (*model.get_input_variables(), *model.get_output_variables())}
    inner = (variable for _, _, variable in _streams(model) if id(variable) not in ports)
    return {variable.name: int(variable.pragma[1]) for variable in inner}


def _streams(model: Any) -> Iterator[tuple[Any, str, Any]]:
    for node in model.get_layers():
        for output, variable in node.variables.items():
            yield node, output, variable


def _source(model: Any, node: Any, own: Mapping[str, str]) -> str:
    while node.name not in own:
        node = node.get_input_node()
    return own[node.name]


def _targets(node: Any, output: str, own: Mapping[str, str]) -> Iterator[str]:
    for reader in node.get_output_use_map()[output]:
        if reader.name in own:
            yield own[reader.name]
            continue
        for inner in reader.outputs:
            yield from _targets(reader, inner, own)
