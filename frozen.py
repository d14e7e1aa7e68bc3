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

        shared = FROZEN if frozen else CHANGING

        def decorate(cls):
            content = shared | cls.__dict__
            content["__doc__"] = content["__doc__"] or cls.__name__  # else `inspect` is asked for a signature
            if content["__hash__"] is None:  # a class that defines __eq__ gets that from the language
                content["__hash__"] = shared["__hash__"]
            objects = 0

            def __init__(self, *values, **named):
                nonlocal objects
                objects += 1
                if objects > FEW or not _filled(self, made, values, named):
                    made.__init__ = _compiled(made)
                    made.__init__(self, *values, **named)

            content["__init__"] = __init__
            made = _slotted(cls, content)
            return made

        return decorate

    def _slotted(cls, content):
        """What `dataclass(slots=True)` makes of the annotations, without its long search for ClassVar."""
        inherited, own = {}, {}
        for base in cls.__mro__[-2:0:-1]:  # `object` has none
            inherited |= getattr(base, "__dataclass_fields__", {})
        for name, kind in content.get("__annotations__", {}).items():
            if kind.startswith("ClassVar"):  # annotations are text here: `from __future__ import annotations`
                continue
            given = content.pop(name, MISSING)
            made = given if given.__class__ is dataclasses.Field else dataclasses.field(default=given)
            if made.default.__class__.__hash__ is None:
                raise ValueError(f"mutable default {type(made.default)} for field {name} is not allowed")
            made.name, made.type, made._field_type = name, kind, dataclasses._FIELD
            made.kw_only = made.kw_only is True
            own[name] = made
        content.pop("__dict__", None)
        content.pop("__weakref__", None)
        every = inherited | own
        content["__slots__"] = tuple(name for name in own if name not in inherited)
        content["__dataclass_fields__"] = every
        content["__match_args__"] = tuple([name for name, made in every.items() if not made.kw_only])
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

    CHANGING = {"__repr__": _repr, "__eq__": _eq, "__getstate__": _values, "__setstate__": _set_state, "__hash__": None}
    FROZEN = CHANGING | {"__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse}
