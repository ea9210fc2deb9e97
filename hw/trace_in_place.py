"""Operations in place, of which `torch.export` leaves those in the graph that change a map under another name too."""

from typing import Any

from hw.trace_walk import operation_of, refuse

_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
_OTHER_NAMES = (*_DROPOUTS, "view", "reshape", "flatten", "squeeze", "to", "contiguous", "alias", "detach")
"""Operations whose result is, or may be, the map that they read, under another name."""


def check_in_place(graph: Any) -> None:
    """Refuse an operation in place after which the map is read under a name from before.

    Raises:
        UnsupportedLayer: there is one.
    """
    order = {node: number for number, node in enumerate(graph.nodes)}
    first: dict[Any, Any] = {}
    names: dict[Any, list[Any]] = {}
    for node in graph.nodes:
        operation = operation_of(node) if node.op == "call_function" else ""
        changes = bool(operation) and is_in_place(node)
        reads = node.args[0] if operation and node.args and hasattr(node.args[0], "users") else None
        first[node] = first[reads] if reads is not None and (changes or operation in _OTHER_NAMES) else node
        same = names.setdefault(first[node], [])
        if changes and operation not in _DROPOUTS:
            later = [user for each in same for user in each.users if order[user] > order[node]]
            if later:
                raise refuse(node, f"{operation} in place on a map that is read again", "inplace=False would do")
        same.append(node)


def is_in_place(node: Any) -> bool:
    """Whether an operation changes what it reads."""
    return bool(getattr(getattr(node.target, "_schema", None), "is_mutable", False))


def needed(graph: Any) -> set[Any]:
    """Nodes that the result needs, and operations in place."""
    found: set[Any] = set()
    for node in reversed(graph.nodes):
        if node.op != "call_function" or is_in_place(node) or not found.isdisjoint(node.users):
            found.add(node)
    return found
