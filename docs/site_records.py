"""What griffe does not know: the fields of a msgspec or named-tuple record are what its class is called with."""

from collections.abc import Iterator
from typing import Any

from griffe import Attribute, Class, Extension, Function, Module, Object, Parameter, ParameterKind, Parameters

RECORDS = ("msgspec.Struct", "typing.NamedTuple")


class Records(Extension):
    """Gives every record the `__init__` that it has, so that a page shows its fields."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Once all of a package is known, its parents' fields too."""
        for each in list(_classes(pkg)):
            family = [*reversed(each.mro()), each]
            if "__init__" not in each.members and any(_is_record(member) for member in family):
                fields = {field.name: field for member in family for field in _fields(member)}
                ordered = sorted(fields.values(), key=lambda field: field.kind is ParameterKind.keyword_only)
                of_self = Parameter("self", kind=ParameterKind.positional_or_keyword)
                each.set_member("__init__", Function("__init__", parameters=Parameters(of_self, *ordered), parent=each))


def _classes(owner: Object) -> Iterator[Class]:
    for member in owner.members.values():
        if not member.is_alias and (member.is_module or member.is_class):
            if isinstance(member, Class):
                yield member
            yield from _classes(member)  # type: ignore[arg-type]  # no alias is left


def _is_record(each: Class) -> bool:
    return any(getattr(base, "canonical_path", base) in RECORDS for base in each.bases)


def _fields(each: Class) -> Iterator[Parameter]:
    named = str(each.keywords.get("kw_only")) == "True"
    kind = ParameterKind.keyword_only if named else ParameterKind.positional_or_keyword
    for member in each.members.values():
        if isinstance(member, Attribute) and member.annotation is not None and "property" not in member.labels:
            yield Parameter(member.name, annotation=member.annotation, kind=kind, default=member.value)
