"""Axes: what may vary in a sweep, how it is named, parsed, applied, compared, ordered and shown. The one place for it.

`AXES` follows from the fields of `Configuration`, so a new field is an axis without a word here:

    rows = expand(configurations, [parse_vary("optimiser_b.weight_decay=0.01,0.1"), parse_vary("lr=1e-4,3e-4")])
    print([label(row, varying(rows)) for row in rows])
"""

from __future__ import annotations

import csv
import difflib
import functools
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tclap.config import COEFFICIENTS, Configuration, OptimiserSettings, config_hash, problem_of
from tclap.errors import InputError

# Short names that do not follow from the field's own name, which is one if no other field has it.
SHORT = {"coefficients.beta": "beta", "model.name": "model", "model.base.steps": "base_steps"}
SHORT |= {"optimiser_a.steps": "steps_a", "optimiser_b.steps": "steps_b"}
SYMBOLS = {f"alpha_{pair}": f"α_{pair}" for pair in ("st", "ct", "so", "co")} | {"beta": "β", "batch_size": "batch"}
FIRST = ("stages", *COEFFICIENTS, "batch_size", "lr")  # what people look for first; the rest in the order of the fields


@dataclass(frozen=True)
class Axis:
    """One thing that may vary: a field of `Configuration`, or the same field of both stages' optimisers."""

    name: str  # "alpha_st", "lr", "optimiser_b.lr": as on a command line
    paths: tuple[str, ...]  # the fields that it sets, such as "optimiser_b.lr"

    @property
    def column(self) -> str:
        """Its name as a table's column."""
        return "stage" if self.name == "stages" else self.name

    @property
    def symbol(self) -> str:
        """Its name in labels and pictures."""
        return SYMBOLS.get(self.name, self.name)

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that its values may have: (float,), (str, NoneType)."""
        plain = _FIELDS[self.paths[0]].annotation
        return get_args(plain) if get_origin(plain) in (Union, UnionType) else (plain,)

    def validate(self, value: object) -> Any:
        """`value` in the field's own type. Raises InputError: one line with what would be right."""
        try:
            return _adapter(self).validate_python(value)
        except ValidationError as error:
            raise InputError(f"{self.name}={shown(value)}: {problem_of(error)}") from error

    def parse(self, text: str) -> Any:
        """The value that `text` names on a command line: "none" for no value, "+" between the members of a tuple."""
        if type(None) in self.kinds and text.lower() == "none":
            return None
        if any(get_origin(kind) is tuple for kind in self.kinds):
            return self.validate(tuple(text.split("+")))
        return self.validate(text)


@dataclass(frozen=True)
class Variation:
    """The values that an axis takes: a list (`values`), or, for a search alone, every number from `low` to `high`."""

    axis: Axis
    values: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False

    @property
    def is_range(self) -> bool:
        return self.low is not None


@functools.cache
def _adapter(axis: Axis) -> TypeAdapter[Any]:
    field = _FIELDS[axis.paths[0]]
    constrained: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
    return TypeAdapter(constrained, config=ConfigDict(allow_inf_nan=False))


def _settings_of(field: FieldInfo) -> type[BaseModel] | None:
    """The settings that a field holds, if it holds some (or None) instead of a value."""
    kinds = [field.annotation, *get_args(field.annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _leaves(settings: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    """Path -> field of every value below `settings`, in the order of the fields."""
    found: dict[str, FieldInfo] = {}
    for name, field in settings.model_fields.items():
        inner = _settings_of(field)
        found |= _leaves(inner, f"{prefix}{name}.") if inner else {prefix + name: field}
    return found


_FIELDS = _leaves(Configuration)


def _all_axes() -> tuple[Axis, ...]:
    """Those of `FIRST`, then the rest; an axis of both stages stands before those of one stage."""
    own_names = [path.rpartition(".")[2] for path in _FIELDS]
    both = {
        name: Axis(name, (f"optimiser_a.{name}", f"optimiser_b.{name}"))
        for name in OptimiserSettings.model_fields
        if name != "steps"  # of two stages that have nothing in common
    }
    single = [
        Axis(SHORT.get(path) or (own if own_names.count(own) == 1 else path), (path,))
        for path, own in zip(_FIELDS, own_names, strict=True)
    ]
    named = {axis.name: axis for axis in [*both.values(), *single]}
    return tuple(named[name] for name in [*FIRST, *(name for name in named if name not in FIRST)])


AXES = _all_axes()
AXIS_OF = {axis.column: axis for axis in AXES}


def find_axis(name: str) -> Axis:
    """The axis called `name`, or whose field has that path. Raises InputError with the nearest name."""
    names = {axis.paths[0]: axis for axis in AXES if len(axis.paths) == 1} | {axis.name: axis for axis in AXES}
    if name in names:
        return names[name]
    own = {path.rpartition(".")[2]: path for path in _FIELDS}  # "decay" is near to "weight_decay", not to its path
    near = difflib.get_close_matches(name, [*names, *own], n=1, cutoff=0.4)
    short = ", ".join(axis.name for axis in AXES if "." not in axis.name)
    hint = f"did you mean {near[0] if near[0] in names else own[near[0]]}?" if near else f"it may be {short}"
    raise InputError(f"nothing is called {name!r} that may vary; {hint}")


def parse_vary(text: str) -> Variation:
    """ "lr=1e-4,3e-4" or "optimiser_b.weight_decay=0.01:0.1:log" -> Variation.

    Values are separated by commas (a value that holds one is quoted as in csv), the members of a tuple, such as folds,
    by "+"; "none" is no value. A range is LOW:HIGH, or LOW:HIGH:log for equal steps of the logarithm. Raises
    InputError for an unknown name, a value of the wrong type and a value named twice.
    """
    name, equals, given = text.partition("=")
    if not equals or not given.strip():
        raise InputError(f"--vary {text!r}: write NAME=VALUE,VALUE or NAME=LOW:HIGH[:log], such as lr=1e-4,3e-4")
    axis = find_axis(name.strip())
    (parts,) = csv.reader([given], skipinitialspace=True)
    if {int, float} & {*axis.kinds} and len(parts) == 1 and ":" in given:
        return _parse_range(axis, given)
    values = tuple(axis.parse(part.strip()) for part in parts)
    if len(set(values)) != len(values):
        raise InputError(f"--vary {text!r} names a value twice")
    return Variation(axis, values)


def _parse_range(axis: Axis, given: str) -> Variation:
    low, high, *how = given.split(":")
    if how not in ([], ["log"]):
        raise InputError(f"{axis.name}={given}: write LOW:HIGH, or LOW:HIGH:log")
    least, most = axis.parse(low), axis.parse(high)
    if not least < most:
        raise InputError(f"{axis.name}={given}: {low} is not below {high}")
    if how and least <= 0:
        raise InputError(f"{axis.name}={given}: a logarithmic range starts above 0")
    return Variation(axis, low=least, high=most, log=bool(how))


def apply(configuration: Configuration, values: Mapping[Axis, Any]) -> Configuration:
    """`configuration` with `values` set; fields of a stage that it does not have stay away.

    With other `stages` it loses what they do not take. If it gains a stage, that one has the default coefficients
    and the optimiser settings of the stage that was there. Raises InputError for a value of the wrong type, or one that
    does not go with the rest.
    """
    nested: dict[str, Any] = configuration.model_dump()
    wanted = {path: axis.validate(value) for axis, value in values.items() for path in axis.paths}
    if "stages" in wanted:
        _fit_to_stages(nested, wanted["stages"])
    for path, value in wanted.items():
        *parents, name = path.split(".")
        place = functools.reduce(lambda inner, parent: None if inner is None else inner[parent], parents, nested)
        if place is not None:
            place[name] = value
    try:
        return Configuration.model_validate(nested)
    except ValidationError as error:
        given = " ".join(f"{axis.name}={shown(value)}" for axis, value in values.items())
        raise InputError(f"{given}: {problem_of(error)}") from error


def _fit_to_stages(nested: dict[str, Any], stages: str) -> None:
    optimiser = nested["optimiser_b"] or nested["optimiser_a"]
    for letter, own in (("A", "stage_a"), ("B", "coefficients")):
        for name, default in ((own, {}), (f"optimiser_{letter.lower()}", dict(optimiser))):
            nested[name] = (nested[name] or default) if letter in stages else None


def _values(configuration: Configuration, axis: Axis) -> tuple[Any, ...]:
    """The distinct values of the axis's fields; none if the configuration has no such stage."""
    found = []
    for path in axis.paths:
        *parents, name = path.split(".")
        place: Any = configuration
        for parent in parents:
            place = getattr(place, parent) if place is not None else None
        if place is not None and getattr(place, name) not in found:
            found.append(getattr(place, name))
    return tuple(found)


def has_axis(configuration: Configuration, axis: Axis) -> bool:
    """Whether the configuration has a stage that takes it."""
    return bool(_values(configuration, axis))


def value_of(configuration: Configuration, axis: Axis) -> Any:
    """The configuration's value on `axis`; None if it has no such stage.

    Raises ValueError for an axis of both stages whose stages differ: `varying` names their own axes then.
    """
    found = _values(configuration, axis)
    if len(found) > 1:
        raise ValueError(f"{axis.name} differs between the stages: {' and '.join(map(shown, found))}")
    return found[0] if found else None


def varying(configurations: Iterable[Configuration], besides: Collection[Axis] = ()) -> list[Axis]:
    """The axes on which `configurations` differ, in the order of `AXES`; together they tell them all apart.

    What only some of them have (stage A's settings) varies if those that have it differ in it. besides: named, too,
    whether or not they differ: what a search may still vary.
    """
    distinct = list(dict.fromkeys(configurations))
    found: list[Axis] = []
    told: set[str] = set()  # fields that an axis of both stages has told already
    for axis in AXES:
        if told.issuperset(axis.paths):
            continue
        of_each = {_values(configuration, axis) for configuration in distinct} - {()}
        if any(len(values) > 1 for values in of_each):
            continue  # its stages differ in some configuration: each has its own axis
        if len(axis.paths) > 1:
            told.update(axis.paths)
        if len(of_each) > 1:
            found.append(axis)
    return [axis for axis in AXES if axis in found or axis in besides]


def expand(configurations: Sequence[Configuration], variations: Sequence[Variation]) -> list[Configuration]:
    """Every configuration at every combination of values, each distinct one once, combination by combination.

    Raises InputError for a range (a list needs values), for two variations of one field, and for one that no
    configuration has.
    """
    check_variations(variations)
    for name in (variation.axis.name for variation in variations if variation.is_range):
        raise InputError(f"{name}: a range is for a search; a list of configurations needs values")
    axes = [variation.axis for variation in variations]
    points = itertools.product(*(variation.values for variation in variations))
    settings = [dict(zip(axes, point, strict=True)) for point in points]
    rows = {config_hash(row): row for point in settings for row in (apply(c, point) for c in configurations)}
    for axis in axes:
        if not any(_values(row, axis) for row in rows.values()):
            raise InputError(f"{axis.name} cannot vary: no configuration has a stage that takes it")
    return list(rows.values())


def check_variations(variations: Sequence[Variation]) -> None:
    """Raise InputError if two variations set the same field."""
    owner: dict[str, str] = {}
    for axis in (variation.axis for variation in variations):
        for path in axis.paths:
            if path in owner:
                raise InputError(f"{owner[path]} and {axis.name} both set {path}: vary one of them")
            owner[path] = axis.name


def label(configuration: Configuration, varying: Sequence[Axis] = ()) -> str:
    """A short name for people: stages, α_st α_ct α_so α_co, β, batch size, and whatever else varies in the sweep."""
    name: str = configuration.stages
    c = configuration.coefficients
    if c is not None:
        alphas = " ".join(shown(alpha) for alpha in (c.alpha_st, c.alpha_ct, c.alpha_so, c.alpha_co))
        name = f"{name:<2} α {alphas}  β {shown(c.beta)}"
    name += f"  batch {configuration.batch_size}"
    others = [axis for axis in varying if axis.name not in ("stages", *COEFFICIENTS, "batch_size")]
    told = [(axis.symbol, _values(configuration, axis)) for axis in others]
    return name + "".join(f"  {symbol} {shown(values[0])}" for symbol, values in told if values)


def shown(value: object) -> str:
    """A value as text: numbers without trailing zeros, tuples as they are parsed."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "none" if value is None else "+".join(map(shown, value)) if isinstance(value, tuple) else str(value)
    return str(value) if isinstance(value, int) else f"{value:g}"
