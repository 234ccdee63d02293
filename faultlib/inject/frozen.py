"""Small immutable values. A dataclass compiles its methods at every import, 0.6 ms each; these share theirs.

A subclass annotates its fields, defaults last, as a frozen dataclass does. Equal fields make values of a class equal.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, NoReturn, dataclass_transform
else:

    def dataclass_transform(**_):
        """Means something to type checkers only."""
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Frozen:
    """The base of such values. Raises TypeError for fields that are missing or unknown, AttributeError for changes."""

    __match_args__: ClassVar[tuple[str, ...]] = ()
    aside: ClassVar[tuple[str, ...]] = ()
    """Names of fields that say where a value comes from: they are neither compared nor shown."""

    def __init_subclass__(cls) -> None:
        cls.__match_args__ = tuple(cls.__annotations__)  # type: ignore[misc]

    def __init__(self, *values: Any, **named: Any) -> None:
        names = self.__match_args__
        if len(values) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} fields, not {len(values)}")
        fields = self.__dict__
        fields.update(zip(names, values, strict=False))
        for name, value in named.items():
            if name not in names or name in fields:
                raise TypeError(f"{type(self).__name__} has no field {name} to give")
            fields[name] = value
        for name in names:
            if name not in fields:
                try:
                    fields[name] = getattr(type(self), name)
                except AttributeError:
                    raise TypeError(f"{type(self).__name__} needs the field {name}") from None

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, in their order."""
        return {name: self.__dict__[name] for name in self.__match_args__}

    def _compared(self) -> dict[str, Any]:
        return {name: value for name, value in self.as_dict().items() if name not in self.aside}

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash((type(self), *self._compared().values()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._compared().items())
        return f"{type(self).__name__}({fields})"
