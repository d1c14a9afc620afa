"""params.yaml, validated before any work starts, as frozen settings."""

import difflib
import math
import re
import reprlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from pipeline.errors import SettingsError

MAX_BYTES = 1 << 17
"""Size of a settings file: room for 400 variants, and a second to read."""
MAX_DEPTH = 12
"""Levels of lists and mappings in one another; the settings have four."""
MAX_NODES = 100_000
"""Values that a file's aliases may stand for: eight lines of them can stand for billions."""

MOST = 1_000_000_000
"""Of anything that is counted."""
MAX_CLASS_NAME = 60
"""Signs of a class's name, which has to fit beside a bar of a figure."""

NumberOrAll = int | Literal["all"]


def _number_or_all(value: Any) -> NumberOrAll:
    if value == "all" or (type(value) is int and 1 <= value <= MOST):
        return value  # type: ignore[no-any-return]
    raise PydanticCustomError(
        "number_or_all", f"must be 'all' or a whole number from 1 to {MOST:,}"
    )


def _name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value):
        raise PydanticCustomError("name", "must be a name of letters, digits, '_' and '-'")
    return value


def _number(value: Any) -> int | float:
    if type(value) not in {int, float}:
        raise PydanticCustomError("number", "must be a number")
    if not math.isfinite(value):
        raise PydanticCustomError("number", "must be a finite number")
    return value  # type: ignore[no-any-return]


def _class_name(value: str) -> str:
    if not (value.isprintable() and value.strip() and len(value) <= MAX_CLASS_NAME):
        raise PydanticCustomError(
            "class_name", f"must be a line of 1 to {MAX_CLASS_NAME} printable signs"
        )
    return value


def _distinct(values: list[str]) -> list[str]:
    for value in values:
        if values.count(value) > 1:
            raise PydanticCustomError("distinct", "must have no name twice")
    return values


def _sources(value: Any) -> tuple[str, ...]:
    sources = [value] if isinstance(value, str) else value
    if not isinstance(sources, list) or not sources:
        raise PydanticCustomError("source", "must be a source or a list of sources")
    if not all(isinstance(source, str) and source.strip() for source in sources):
        raise PydanticCustomError("source", "must hold only non-empty strings")
    return tuple(sources)


def _variant_name(value: str) -> str:
    if value in {"summary", "sweep"}:
        raise PydanticCustomError("name", "must not be the name of another file in metrics/")
    return value


ClassName = Annotated[str, AfterValidator(_class_name)]
Distinct = AfterValidator(_distinct)
Name = Annotated[str, AfterValidator(_name)]
VariantName = Annotated[Name, AfterValidator(_variant_name)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Images = Annotated[NumberOrAll, PlainValidator(_number_or_all)]
Number = Annotated[int | float, PlainValidator(_number)]
Count = Annotated[int, Field(gt=0, le=MOST)]
Neurons = Annotated[int, Field(gt=0, le=1_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class DatasetSettings(_Strict):
    """Where a dataset comes from and how it is cut."""

    source: Annotated[tuple[str, ...], PlainValidator(_sources)]
    """Tried in order: embedded, kaggle:<owner>/<dataset>, https://..., or a path."""
    class_names: Annotated[list[ClassName], Field(min_length=2, max_length=256), Distinct]
    validation_size: Count
    """Images of the training set that are set apart to choose settings and epochs."""
    test_size: Count | None
    """Images to set apart for testing where the source has no labelled test set of its own."""
    checksums: dict[str, Annotated[str, Field(pattern=r"^(md5|sha256):[0-9a-f]+$")]] = {}
    """`md5:...` or `sha256:...` by file name, checked when a file comes from a mirror."""


class VariantSettings(_Strict):
    """One network and how it is trained."""

    hidden: Annotated[list[Neurons], Field(max_length=100)]
    """Neurons in each hidden layer; the input and output layers follow from the data."""
    activation: Literal["relu", "sigmoid", "tanh"] = "relu"
    output: Literal["softmax", "sigmoid"] = "softmax"
    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy"
    initializer: Literal["he", "glorot", "normal"] = "he"
    optimizer: Literal["sgd", "adam"] = "sgd"
    lr: Rate
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    l2: NonNegative = 0.0
    clip_value: Rate | None = None
    """Each gradient element is limited to [-clip_value, clip_value]."""
    clip_norm: Rate | None = None
    """All gradients together are scaled down to this Euclidean norm."""
    batch_size: Images
    epochs: Count
    train_limit: Count | None = None
    """Train on at most so many images."""
    test_sample: Count | None = None
    """Report the accuracy on the first so many test images too, as a small study would."""

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> Self:
        if self.loss == "cross_entropy" and self.output != "softmax":
            raise PydanticCustomError(
                "combination",
                "output must be softmax with loss cross_entropy, got '{output}'",
                {"output": self.output},
            )
        if self.optimizer == "adam" and self.momentum:
            raise PydanticCustomError(
                "combination",
                "momentum must be 0 with optimizer adam, got {momentum}",
                {"momentum": self.momentum},
            )
        return self


class Range(_Strict):
    """The numbers from `low` to `high`, both among them."""

    low: Number
    high: Number
    log: bool = False
    """Every order of magnitude is as likely as any other."""
    step: Number | None = None
    """Only low, low + step, low + 2 step, ... are meant."""

    @model_validator(mode="after")
    def _holds_numbers(self) -> Self:
        if self.low >= self.high:
            raise _broken(f"high must be > low, which is {self.low}, got {self.high}")
        if self.log and self.low <= 0:
            raise _broken(f"low must be > 0 with log, got {self.low}")
        if self.step is not None:
            if self.log:
                raise _broken(f"step must be null with log, got {self.step}")
            steps = (self.high - self.low) / self.step if self.step > 0 else 0.0
            if round(steps) < 1 or not math.isclose(steps, round(steps)):
                raise _broken(f"step must divide {self.high} - {self.low}, got {self.step}")
        return self


def _form(value: Any) -> str | None:
    """Name the form of a setting's candidates; brackets keep the name out of messages."""
    if isinstance(value, list):
        mapping = any(isinstance(entry, dict | Range) for entry in value)
        return "[layers]" if mapping else "[choices]"
    return "[range]" if isinstance(value, dict | Range) else None


Layer = Annotated[
    Annotated[Range, Tag("[range]")] | Annotated[Count, Tag("[number]")],
    Discriminator(lambda value: "[range]" if isinstance(value, dict | Range) else "[number]"),
]
Candidates = Annotated[
    Annotated[Range, Tag("[range]")]
    | Annotated[list[Layer], Tag("[layers]")]
    | Annotated[list[Any], Field(min_length=1), Tag("[choices]")],
    Discriminator(
        _form,
        custom_error_type="candidates",
        custom_error_message="must be a list of choices or a mapping {low, high}",
    ),
]
"""What a setting may be: a range; choices; or, of `hidden`, a range or a number for each layer."""


class PublishedAccuracy(_Strict):
    """An accuracy that others report for a learning rate."""

    lr: Rate
    accuracy: Annotated[float, Field(ge=0, le=1)]


class SpaceSettings(_Strict):
    """Which settings of a variant a sweep tries, and how it chooses among them."""

    sampler: Literal["tpe", "random", "grid"]
    pruner: Literal["none", "median", "hyperband"]
    trials: Count
    """How many; of a grid at the most."""
    parallel: Count
    """So many trials may run at a time: trial n is chosen from the results of 0 to n - parallel."""
    settings: Annotated[dict[str, Candidates], Field(min_length=1)]
    published: list[PublishedAccuracy] = []

    @model_validator(mode="after")
    def _candidates_fit_their_settings(self) -> Self:
        for name, candidates in self.settings.items():
            if name not in TRAINED_WITH:
                close = difflib.get_close_matches(name, TRAINED_WITH, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise _broken(f"settings.{name} is not a setting to train with{hint}")
            for place, value in examples(candidates):
                _check_candidate(f"settings.{name}{place}", name, value)
            if _form(candidates) == "[choices]" and isinstance(candidates, list):
                for number, choice in enumerate(candidates):
                    if choice in candidates[:number]:
                        raise _broken(f"settings.{name}.{number} is there twice, got {choice!r}")
        return self

    @model_validator(mode="after")
    def _a_grid_is_finite(self) -> Self:
        for name, candidates in self.settings.items():
            for part in candidates if isinstance(candidates, list) else [candidates]:
                if self.sampler == "grid" and isinstance(part, Range) and part.step is None:
                    raise _broken(f"settings.{name} must have a step with sampler grid")
        return self


TRAINED_WITH = tuple(name for name in VariantSettings.model_fields if name != "test_sample")
"""The settings of a variant that training looks at: those that a sweep may try."""


def examples(candidates: Candidates) -> Iterator[tuple[str, Any]]:
    """Give values that keep every rule that all candidates keep, and where each was written.

    Of a range those are its ends and the number after the first.
    """
    if isinstance(candidates, Range):
        yield ".low", candidates.low
        yield ".high", candidates.high
        if candidates.step is not None:
            yield ".step", candidates.low + candidates.step
    elif _form(candidates) == "[choices]":
        yield from ((f".{number}", choice) for number, choice in enumerate(candidates))
    else:
        layers = [
            dict(examples(layer)) if isinstance(layer, Range) else {".low": layer, ".high": layer}
            for layer in candidates
        ]
        for end in (".low", ".high", ".step"):
            yield "", [layer.get(end, layer[".low"]) for layer in layers]


def _check_candidate(place: str, name: str, value: Any) -> None:
    """Raise the rule of a single setting that `value` breaks; how settings fit comes later."""
    any_variant = {"hidden": [1], "lr": 1.0, "batch_size": 1, "epochs": 1}
    try:
        VariantSettings.model_validate(any_variant | {name: value})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if detail["type"] != "combination":
                raise _broken(f"{place}: {_sentence(detail)}") from error


class SweepSettings(_Strict):
    """What sweep/dvc.yaml tries, and the search spaces to choose from."""

    variant: Name
    space: Name
    spaces: dict[Name, SpaceSettings]

    @model_validator(mode="after")
    def _space_is_listed(self) -> Self:
        self.chosen(self.space)
        return self

    def chosen(self, name: str) -> SpaceSettings:
        """Give the search space of that name. Raises SettingsError for an unknown one."""
        if name not in self.spaces:
            raise SettingsError(f"sweep.space must be one of {', '.join(self.spaces)}, got {name}")
        return self.spaces[name]


def _broken(sentence: str) -> PydanticCustomError:
    """Build the error of settings that do not fit each other."""
    return PydanticCustomError("combination", "{sentence}", {"sentence": sentence})


class Settings(_Strict):
    """Everything in params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    device: Literal["cpu", "gpu", "auto"]
    lr: Rate | None
    epochs: Count | None
    batch_size: Images | None
    shuffle_buffer: Images = "all"
    """Images that training holds in memory to draw batches from; the others stay on disk."""
    dataset: str
    normalize: Literal["scale", "standardize"]
    tracking: Literal["none", "dvclive", "wandb", "mlflow"]
    """Who is told of each run; no result depends on it."""
    datasets: dict[Name, DatasetSettings]
    variants: dict[VariantName, VariantSettings]
    sweep: SweepSettings

    @model_validator(mode="after")
    def _dataset_is_listed(self) -> Self:
        if self.dataset not in self.datasets:
            raise SettingsError(
                f"dataset must be one of {', '.join(self.datasets)}, got {self.dataset}"
            )
        return self

    @property
    def chosen_dataset(self) -> DatasetSettings:
        """The settings of the dataset that `dataset` names."""
        return self.datasets[self.dataset]

    def variant(self, name: str) -> VariantSettings:
        """Give a variant's settings with the overriding lr, epochs and batch_size applied.

        Raises SettingsError for a name that is not in params.yaml.
        """
        if name not in self.variants:
            raise SettingsError(f"variant must be one of {', '.join(self.variants)}, got {name}")
        overrides = {"lr": self.lr, "epochs": self.epochs, "batch_size": self.batch_size}
        return self.variants[name].model_copy(
            update={key: value for key, value in overrides.items() if value is not None}
        )


def read_params(path: Path = Path("params.yaml")) -> Settings:
    """Read and validate a settings file.

    Raises SettingsError, in one line that names the key, the rule and the value.
    """
    content = _load(Path(path))
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must be a mapping of settings, got {_shown(content)}")
    try:
        return Settings.model_validate(content)
    except ValidationError as error:
        lines = [_sentence(detail) for detail in error.errors(include_url=False)]
        if len(lines) > MAX_SENTENCES:
            lines[MAX_SENTENCES:] = [f"and {len(lines) - MAX_SENTENCES} more"]
        raise SettingsError(f"{path}: {'; '.join(lines)}") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


TAGS = ("null", "bool", "int", "float", "str", "seq", "map")
"""Kinds of values that YAML's core schema knows; dates and sets are not among them."""


class _Constructor(SafeConstructor):
    """Builds numbers, truths, texts, lists and mappings alone.

    What a document's aliases stand for is counted before any of it is built.
    """

    yaml_constructors = {  # noqa: RUF012  # ruamel's class says that it is the instance's
        tag: SafeConstructor.yaml_constructors[tag]
        for tag in (None, *map("tag:yaml.org,2002:{}".format, TAGS))
    }

    def construct_document(self, node: Node) -> Any:
        if _weight(node, {}) > MAX_NODES:
            raise YAMLError(f"its aliases make it more than {MAX_NODES} values")
        return super().construct_document(node)


def _weight(node: Node, known: dict[int, int]) -> int:
    """Count a node and all below it, each as often as it is named."""
    if id(node) not in known:
        known[id(node)] = 1
        below: list[Node] = []
        if isinstance(node, MappingNode):
            below = [part for pair in node.value for part in pair]
        elif isinstance(node, SequenceNode):
            below = node.value
        known[id(node)] = 1 + sum(_weight(part, known) for part in below)
    return known[id(node)]


def _load(path: Path) -> Any:
    """Read a YAML file. Raises SettingsError for what is none, and for what no settings need."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SettingsError(f"{path} must have at most {MAX_BYTES} bytes")
        # YAML 1.2, which DVC reads too: there 1e-4 is a number and `no` is a string.
        yaml = YAML(typ="safe", pure=True)
        yaml.max_depth = MAX_DEPTH
        yaml.Constructor = _Constructor
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            return yaml.load(content.decode("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8: {error.reason}") from error
    except MaxDepthExceededError as error:
        raise SettingsError(f"{path} must nest at most {MAX_DEPTH} levels deep") from error
    except (YAMLError, ValueError, LookupError, OverflowError) as error:
        # All but the first are ruamel's words for a date, number or sign that there is not.
        raise SettingsError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


MAX_SENTENCES = 10
"""Broken rules that one message lists."""

_RULES = {
    "missing": "is required",
    "greater_than": "must be > {gt:g}",
    "greater_than_equal": "must be >= {ge:g}",
    "less_than": "must be < {lt:g}",
    "less_than_equal": "must be <= {le:,.10g}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "literal_error": "must be one of {expected}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "string_pattern_mismatch": "must match {pattern}",
}


def _sentence(error: ErrorDetails) -> str:
    """Turn one of pydantic's errors into `key rule, got value`."""
    key = ".".join(str(part) for part in error["loc"] if not str(part).startswith("["))
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return f"{key} is not a setting{_suggestion(error)}"
    if kind == "missing":
        return f"{key} is required"
    if kind == "combination":
        return f"{key}.{error['msg']}"
    rule = _RULES[kind].format(**error.get("ctx", {})) if kind in _RULES else error["msg"]
    return f"{key} {rule}, got {_shown(value)}"


class _Short(reprlib.Repr):
    """Writes a value as Python does, a long one with its middle left out."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist, self.maxstring, self.maxother = 10, 80, 80

    def repr_int(self, x: int, _: int) -> str:
        # Python refuses to write more than 4,300 digits.
        return repr(x) if abs(x) < 10**40 else f"a whole number of {x.bit_length()} bits"


_shown = _Short().repr


_MODELS: dict[tuple[str, int], type[BaseModel]] = {
    ("datasets", 3): DatasetSettings,
    ("variants", 3): VariantSettings,
    ("sweep", 2): SweepSettings,
    ("sweep", 4): SpaceSettings,
    ("sweep", 7): Range,
}
"""What a key belongs to, by the first part of its place and the number of parts."""


def _suggestion(error: ErrorDetails) -> str:
    location = error["loc"]
    model = _MODELS.get((str(location[0]), len(location)), Settings)
    close = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else ""
