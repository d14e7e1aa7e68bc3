"""`dataclass(frozen=True, slots=True)`, whose methods are compiled when many objects are made.

The standard library's decorator compiles six methods for each class while its module is imported: 0.5 to 1 ms a class,
which for the model alone was more than reading YAML and half of what `ps` took. Most commands make few objects of few
of these classes. Here `__init__` is compiled when there are many, and the other methods are shared by all classes.

Rules: what is made is a data class for `dataclasses` (`fields`, `replace`, `asdict`, `match`) and behaves as the
standard library's does; a type checker sees the standard library's decorator itself. Standard library only, for the
keeper imports it. What it does not do: `__post_init__`, `InitVar`, and the comparisons that `order=True` would add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    import dataclasses
    from dataclasses import MISSING, FrozenInstanceError, fields
    from functools import cache
    from operator import attrgetter

    FEW = 20  # objects that are made faster than the method is compiled that would make them

    def dataclass(*, frozen: bool = False, slots: bool):
        """As `dataclasses.dataclass`; `slots` must be true."""
        if not slots:
            raise TypeError("these classes have slots")

        def decorate(cls):
            if not cls.__doc__:
                cls.__doc__ = cls.__name__  # else `inspect` is asked for a signature to put there
            shared = {"__repr__": _repr, "__eq__": _eq, "__getstate__": _values, "__setstate__": _set_state}
            shared |= (
                {"__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse} if frozen else {"__hash__": None}
            )
            for name, method in shared.items():
                # A class that defines __eq__ gets the entry `__hash__ = None` from the language, not from its author.
                if name not in cls.__dict__ or (name == "__hash__" and cls.__dict__[name] is None):
                    setattr(cls, name, method)
            made = _slotted(cls)

            objects = 0

            def __init__(self, *values, **named):
                nonlocal objects
                objects += 1
                if objects > FEW or not _filled(self, made, values, named):
                    made.__init__ = _compiled(made)
                    made.__init__(self, *values, **named)

            made.__init__ = __init__
            return made

        return decorate

    def _slotted(cls):
        """What `dataclass(slots=True)` makes of the annotations, without its long search for ClassVar."""
        inherited, own = {}, {}
        for base in reversed(cls.__mro__[1:]):
            inherited |= getattr(base, "__dataclass_fields__", {})
        for name, kind in cls.__dict__.get("__annotations__", {}).items():  # noqa: RUF063 `inspect` takes 5 ms
            if kind.startswith("ClassVar"):  # annotations are text here: `from __future__ import annotations`
                continue
            given = cls.__dict__.get(name, MISSING)
            made = given if isinstance(given, dataclasses.Field) else dataclasses.field(default=given)
            if made.default.__class__.__hash__ is None:
                raise ValueError(f"mutable default {type(made.default)} for field {name} is not allowed")
            made.name, made.type, made._field_type = name, kind, dataclasses._FIELD
            made.kw_only = made.kw_only is True
            own[name] = made
        content = {k: v for k, v in cls.__dict__.items() if k not in own and k not in ("__dict__", "__weakref__")}
        content["__slots__"] = tuple(name for name in own if name not in inherited)
        content["__dataclass_fields__"] = inherited | own
        content["__match_args__"] = tuple(n for n, f in content["__dataclass_fields__"].items() if not f.kw_only)
        return type(cls)(cls.__name__, cls.__bases__, content)

    def _filled(self, cls, values, named):
        """Set every slot; false where these are not the arguments that it takes, for the compiled one to say so."""
        every = cls.__dataclass_fields__
        given = dict(zip(cls.__match_args__, values, strict=False))
        if len(given) < len(values) or given.keys() & named.keys():
            return False
        given |= named
        for name, field in every.items():
            if name in given:
                value = given[name]
            elif field.default is not MISSING:
                value = field.default
            elif field.default_factory is not MISSING:
                value = field.default_factory()
            else:
                return False
            object.__setattr__(self, name, value)
        return given.keys() <= every.keys()

    def _compiled(cls):
        """The `__init__` that sets every slot of `cls`."""
        known = {"unset": MISSING}
        positional, named, body = [], [], ["pass"]
        for number, field in enumerate(fields(cls)):
            parameter, value = field.name, field.name
            if field.default_factory is not MISSING:
                known[f"factory{number}"] = field.default_factory
                parameter, value = f"{parameter}=unset", f"factory{number}() if {value} is unset else {value}"
            elif field.default is not MISSING:
                known[f"default{number}"] = field.default
                parameter = f"{parameter}=default{number}"
            known[f"set{number}"] = getattr(cls, field.name).__set__  # the slot's own, which no __setattr__ refuses
            (named if field.kw_only else positional).append(parameter)
            body.append(f"set{number}(self, {value})")
        parameters = ", ".join(["self", *positional, *(["*", *named] if named else [])])
        exec(f"def __init__({parameters}):\n " + "\n ".join(body), known)
        known["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
        return known["__init__"]

    @cache
    def _getter(cls):
        names = [field.name for field in fields(cls) if field.compare]
        if len(names) < 2:
            return lambda one: tuple(getattr(one, name) for name in names)
        return attrgetter(*names)

    def _eq(self, other):
        if other.__class__ is not self.__class__:
            return NotImplemented
        values = _getter(self.__class__)
        return values(self) == values(other)

    def _hash(self):
        return hash(_getter(self.__class__)(self))

    def _repr(self):
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in fields(self) if field.repr)
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    def _refuse(self, name, *value):
        raise FrozenInstanceError(f"cannot {'assign to' if value else 'delete'} field {name!r}")

    def _values(self):
        return [getattr(self, field.name) for field in fields(self)]

    def _set_state(self, values):
        for field, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)
