"""The schema of params.yaml: frozen settings and their rules."""

import difflib
import math
import re
import reprlib
from collections.abc import Iterator, Mapping
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

from pipeline.base.errors import SettingsError

MOST = 1_000_000_000
"""Upper limit of every count."""
MAX_NAME = 100
"""Limit of characters per name of a variant: file systems allow 255 bytes for a file's name."""
MAX_CLASS_NAME = 60
"""Limit of characters per class name, which must fit beside a bar in a figure."""

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
    if len(value) > MAX_NAME:
        raise PydanticCustomError("name", f"must have at most {MAX_NAME} characters")
    return value


def _distinct_files(named: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, str] = {}
    for name in named:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise PydanticCustomError(
                "names", f"must have names that differ in more than case, got {other} and {name}"
            )
    return named


def _number(value: Any) -> int | float:
    if type(value) not in {int, float}:
        raise PydanticCustomError("number", "must be a number")
    if not math.isfinite(value):
        raise PydanticCustomError("number", "must be a finite number")
    return value  # type: ignore[no-any-return]


def _class_name(value: str) -> str:
    if not (value.isprintable() and value.strip() and len(value) <= MAX_CLASS_NAME):
        raise PydanticCustomError(
            "class_name", f"must have from 1 to {MAX_CLASS_NAME} printable characters"
        )
    return value


def _distinct(values: list[str]) -> list[str]:
    for value in values:
        if values.count(value) > 1:
            raise PydanticCustomError("distinct", "must have no duplicates")
    return values


def _sources(value: Any) -> tuple[str, ...]:
    sources = [value] if isinstance(value, str) else value
    if not isinstance(sources, list) or not sources:
        raise PydanticCustomError("source", "must be a source or a list of sources")
    if not all(isinstance(source, str) and source.strip() for source in sources):
        raise PydanticCustomError("source", "must hold only non-empty strings")
    return tuple(sources)


def _by_name(value: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(value.items()))


ClassName = Annotated[str, AfterValidator(_class_name)]
Distinct = AfterValidator(_distinct)
Name = Annotated[str, AfterValidator(_name)]
DistinctFiles = AfterValidator(_distinct_files)
"""Names that differ in more than case, as file systems of macOS and Windows require."""
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Images = Annotated[NumberOrAll, PlainValidator(_number_or_all)]
Number = Annotated[int | float, PlainValidator(_number)]
Count = Annotated[int, Field(gt=0, le=MOST)]
Neurons = Annotated[int, Field(gt=0, le=1_000_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class DatasetSettings(_Strict):
    """The source of a dataset and how it is split."""

    source: Annotated[tuple[str, ...], PlainValidator(_sources)]
    """Tried in order: embedded, kaggle:<owner>/<dataset>, https://..., or a path."""
    class_names: Annotated[list[ClassName], Field(min_length=2, max_length=256), Distinct]
    validation_size: Count
    """Training images to set apart for choosing settings and epochs."""
    test_size: Count | None
    """Images to set apart for testing if the source has no labelled test set."""
    pictures: Literal["digit", "as_is"]
    """How a user's picture becomes one of this set's images: its strokes are found, scaled and
    centred as in MNIST, or it is only reduced to the size of the images. Required, because either
    is wrong for some sets."""
    checksums: dict[str, Annotated[str, Field(pattern=r"^(md5|sha256):[0-9a-f]+$")]]
    """`md5:...` or `sha256:...` per file name, verified when a file is downloaded from a mirror.
    Required, even if {}: DVC tracks this key, so that a checksum added later is verified."""
    files: Annotated[str, Field(min_length=1)] | None = None
    """The name of the set to take from a source that has several. DVC tracks this key too."""
    invert: bool | None = None
    """Whether images are dark on light; null if they are not known to be, and should be checked."""
    scale: Rate | None = None
    """What pixels are multiplied by, so that the brightest is near 255; null: 1, and checked."""
    transpose: bool | None = None
    """Whether rows and columns are exchanged, as in EMNIST; null: they are not, and checked."""
    first_label: Annotated[int, Field(ge=0, le=255)] | None = None
    """The label of the first class; null: 0, and checked."""


class Augment(_Strict):
    """How much training images are distorted, anew in each epoch. 0 turns a distortion off."""

    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest angle, in degrees."""
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest change of the width, and of the height, as a fraction."""
    shear: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Largest shift of a row, in pixels per pixel of its distance from the centre."""
    shift: Annotated[float, Field(ge=0, le=14)] = 0.0
    """Largest shift, in pixels."""
    elastic: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Standard deviation of a smooth random displacement of each pixel, in pixels."""


class VariantSettings(_Strict):
    """A network and how it is trained. A setting with a default may be left out."""

    hidden: Annotated[list[Neurons], Field(max_length=100)]
    """Neurons per hidden layer; the input and output layers follow from the data."""
    activation: Literal["relu", "sigmoid", "tanh"] = "relu"
    output: Literal["softmax", "sigmoid"] = "softmax"
    loss: Literal["cross_entropy", "mean_squared_error"] = "cross_entropy"
    initializer: Literal["he", "glorot", "normal"] = "he"
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Rate
    schedule: Literal["constant", "linear", "cosine", "steps"] = "constant"
    """How the learning rate goes on after the warm-up: linearly or as half a cosine to 0, or
    multiplied by `drop` at each of `drops`."""
    warmup: Fraction = 0.0
    """The fraction of the training in which the learning rate rises linearly from 0 to lr."""
    drops: Annotated[list[Fraction], Field(max_length=100)] = []
    """Fractions of the training after which the learning rate is multiplied by `drop`."""
    drop: Annotated[float, Field(gt=0, lt=1)] = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    nesterov: bool = False
    """Whether momentum looks ahead, as Nesterov's does."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """The share of the past in Adam's running means of the gradient, and of its square."""
    l2: NonNegative = 0.0
    weight_decay: NonNegative = 0.0
    """The fraction, times the learning rate, by which adamw shrinks the weights in each step."""
    clip_value: Rate | None = None
    """Each gradient element is limited to [-clip_value, clip_value]."""
    clip_norm: Rate | None = None
    """The gradients are scaled down together to at most this Euclidean norm."""
    label_smoothing: Fraction = 0.0
    """The share of each target that is spread evenly over all classes."""
    dropout: Fraction = 0.0
    """The probability with which each output of a hidden layer is left out in a training step."""
    augment: Augment | None = None
    batch_size: Images
    epochs: Count
    epochs_for: Count | None = None
    """The number of training images that `epochs` holds for. Fewer images are trained on for more
    epochs, by the square root of the ratio; null trains for `epochs` in any case."""
    keep: Literal["last", "best"] = "last"
    """The epoch whose weights are kept: the last, or the one with the lowest validation cost."""
    patience: Count | None = None
    """Stop after so many epochs in a row without a lower validation cost."""
    train_limit: Count | None = None
    """Maximum number of training images."""
    test_sample: Count | None = None
    """Number of first test images on which to report the accuracy too, as a small study would."""
    test_shifts: Literal[5, 9] | None = None
    """Also report the accuracy of the mean over each test image and its 4 or 8 neighbours, shifted
    by a pixel."""

    def on(self, images: int) -> Self:
        """Return the settings for a number of training images: with the number of epochs."""
        if self.epochs_for is None:
            return self
        epochs = round(self.epochs * max(1.0, math.sqrt(self.epochs_for / images)))
        return self.model_copy(update={"epochs": epochs, "epochs_for": None})

    @model_validator(mode="after")
    def _settings_fit_each_other(self) -> Self:
        if self.loss == "cross_entropy" and self.output != "softmax":
            raise PydanticCustomError(
                "combination",
                "output must be softmax with loss cross_entropy, got '{output}'",
                {"output": self.output},
            )
        needed = (
            ("momentum", self.optimizer == "sgd", f"0 with optimizer {self.optimizer}"),
            ("nesterov", self.momentum > 0, "false without momentum"),
            ("weight_decay", self.optimizer == "adamw", "0 without optimizer adamw"),
            ("label_smoothing", self.loss == "cross_entropy", f"0 with loss {self.loss}"),
            ("drops", self.schedule == "steps", "[] without schedule steps"),
        )
        for name, fits, rule in needed:
            if getattr(self, name) and not fits:
                raise _broken(f"{name} must be {rule}, got {getattr(self, name)}")
        return self


class Range(_Strict):
    """The numbers from `low` to `high`, inclusive."""

    low: Number
    high: Number
    log: bool = False
    """Whether to draw uniformly on a logarithmic scale."""
    step: Number | None = None
    """Restrict the range to low, low + step, low + 2 step, ..."""

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
    """Return the form of a setting's candidates; the brackets keep it out of messages."""
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
"""What a setting may be: a range; choices; or, for `hidden`, a range or a number per layer."""


class PublishedAccuracy(_Strict):
    """A published accuracy for a learning rate."""

    lr: Rate
    accuracy: Annotated[float, Field(ge=0, le=1)]


class SpaceSettings(_Strict):
    """The settings that a sweep varies, and how it chooses their values."""

    sampler: Literal["tpe", "random", "grid"]
    pruner: Literal["none", "median", "hyperband"]
    trials: Count
    """Number of trials; at most this many for a grid."""
    parallel: Count
    """Trials that may run concurrently: trial n is chosen from the results of 0 to n - parallel."""
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
                        raise _broken(
                            f"settings.{name}.{number} must differ from earlier choices, "
                            f"got {choice!r}"
                        )
        return self

    @model_validator(mode="after")
    def _a_grid_is_finite(self) -> Self:
        for name, candidates in self.settings.items():
            for part in candidates if isinstance(candidates, list) else [candidates]:
                if self.sampler == "grid" and isinstance(part, Range) and part.step is None:
                    raise _broken(f"settings.{name} must have a step with sampler grid")
        return self


TRAINED_WITH = (
    *(
        name
        for name in VariantSettings.model_fields
        if name not in {"augment", "test_sample", "test_shifts"}
    ),
    *(f"augment.{name}" for name in Augment.model_fields),
)
"""The settings of a variant that affect training, which a sweep may vary."""


def value_of(settings: VariantSettings, name: str) -> Any:
    """Return one of TRAINED_WITH; None for the strength of a distortion without augment."""
    outer, _, inner = name.partition(".")
    value = getattr(settings, outer)
    return getattr(value, inner, None) if inner else value


def with_values(settings: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a variant's settings with some of TRAINED_WITH changed."""
    changed = dict(settings)
    for name, value in values.items():
        outer, _, inner = name.partition(".")
        changed[outer] = (changed.get(outer) or {}) | {inner: value} if inner else value
    return changed


def examples(candidates: Candidates) -> Iterator[tuple[str, Any]]:
    """Yield values to validate in place of all candidates, and where each was written.

    Where these values keep the rules, all candidates do. A range is represented by its ends and the
    number after the first.
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
            dict(examples(layer)) if isinstance(layer, Range) else {".low": layer}
            for layer in candidates
        ]
        for end in (".low", ".high", ".step"):
            yield "", [layer.get(end, layer[".low"]) for layer in layers]


def _check_candidate(place: str, name: str, value: Any) -> None:
    """Raise an error if `value` breaks the rule of its setting; combinations are checked later."""
    any_variant: dict[str, Any] = {"hidden": [1], "lr": 1.0, "batch_size": 1, "epochs": 1}
    try:
        VariantSettings.model_validate(with_values(any_variant, {name: value}))
    except ValidationError as error:
        for detail in error.errors():
            if detail["type"] != "combination":
                raise _broken(f"{place}: {sentence(detail)}") from error


class SweepSettings(_Strict):
    """The sweep of sweep/dvc.yaml, and the search spaces to choose from."""

    variant: Name
    space: Name
    spaces: Annotated[dict[Name, SpaceSettings], DistinctFiles]

    @model_validator(mode="after")
    def _space_is_listed(self) -> Self:
        self.chosen(self.space)
        return self

    def chosen(self, name: str) -> SpaceSettings:
        """Return the search space of that name. Raises SettingsError if it is unknown."""
        if name not in self.spaces:
            raise SettingsError(f"sweep.space must be one of {', '.join(self.spaces)}, got {name}")
        return self.spaces[name]


def _broken(sentence: str) -> PydanticCustomError:
    """Return an error about settings that do not fit together."""
    return PydanticCustomError("combination", "{sentence}", {"sentence": sentence})


class Settings(_Strict):
    """Everything in params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    device: Literal["cpu", "gpu", "auto"]
    lr: Rate | None
    epochs: Count | None
    batch_size: Images | None
    shuffle_buffer: Images = "all"
    """Images that training holds in memory to draw batches from; the rest stays on disk."""
    dataset: str
    normalize: Literal["scale", "standardize"]
    tracking: Literal["none", "dvclive", "wandb", "mlflow"]
    """The experiment tracker that records each run; it does not affect results."""
    datasets: Annotated[dict[Name, DatasetSettings], DistinctFiles]
    variants: Annotated[dict[Name, VariantSettings], DistinctFiles, AfterValidator(_by_name)]
    """Sorted by name, so that results do not depend on the order in params.yaml."""
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
        """The settings of the dataset named by `dataset`."""
        return self.datasets[self.dataset]

    def variant(self, name: str) -> VariantSettings:
        """Return a variant's settings, overridden by the top-level lr, epochs and batch_size.

        Raises SettingsError for a name that is not in params.yaml.
        """
        if name not in self.variants:
            raise SettingsError(f"variant must be one of {', '.join(self.variants)}, got {name}")
        overrides: dict[str, Any] = {
            key: value
            for key in ("lr", "epochs", "batch_size")
            if (value := getattr(self, key)) is not None
        }
        if self.epochs is not None:  # taken as it is
            overrides["epochs_for"] = None
        return self.variants[name].model_copy(update=overrides)


_RULES = {
    "missing": "is required",
    "json_invalid": "must be JSON ({error})",
    "greater_than": "must be > {gt:,.10g}",
    "greater_than_equal": "must be >= {ge:,.10g}",
    "less_than": "must be < {lt:,.10g}",
    "less_than_equal": "must be <= {le:,.10g}",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "dataclass_type": "must be a mapping",
    "literal_error": "must be one of {expected}",
    "too_short": "must have {min_length} or more entries",
    "too_long": "must have at most {max_length} entries",
    "string_pattern_mismatch": "must match {pattern}",
}


def sentence(error: ErrorDetails) -> str:
    """Format one of pydantic's errors as `key rule, got value`; the whole input has no key."""
    key = ".".join(str(part) for part in error["loc"] if not str(part).startswith("["))
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return f"{key} is not a setting{_suggestion(error)}"
    if kind == "missing":
        return f"{key} is required"
    if kind == "combination":
        return f"{key}.{error['msg']}"
    if kind == "names":
        return f"{key} {error['msg']}"
    rule = _RULES[kind].format(**error.get("ctx", {})) if kind in _RULES else error["msg"]
    return f"{key} {rule}, got {shown(value)}".lstrip()


class _Short(reprlib.Repr):
    """Formats a value as Python does, a long one without its middle."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlist, self.maxstring, self.maxother = 10, 80, 80

    def repr_int(self, x: int, _: int) -> str:
        # Python refuses to format more than 4,300 digits.
        return repr(x) if abs(x) < 10**40 else f"a whole number of {x.bit_length()} bits"


shown = _Short().repr


_MODELS: dict[tuple[str, int], type[BaseModel]] = {
    ("datasets", 3): DatasetSettings,
    ("variants", 3): VariantSettings,
    ("sweep", 2): SweepSettings,
    ("sweep", 4): SpaceSettings,
    ("sweep", 7): Range,
}
"""The model that a key belongs to, by the first part of its location and the number of parts."""


def _suggestion(error: ErrorDetails) -> str:
    location = error["loc"]
    model = _MODELS.get((str(location[0]), len(location)), Settings)
    close = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else ""
