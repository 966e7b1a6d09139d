"""What an infer request asks: its one input tensor, and the outputs that it wants."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.specs import InputSpec
from service.errors import InvalidInput, Unsupported
from service.inputs.body import Decoder, Part
from service.inputs.tensors import as_float32, check_values, flattened
from service.oip.body import Body
from service.oip.datatypes import BINARY_ONLY, BYTES, OTHERS, VALUES, elements_of, values_of

Floats = NDArray[np.float32]
SCORES, LABEL = "scores", "label"
CREDENTIAL = "signet_credential"  # the request parameter that a token or key may stand in
_MOST_DIMENSIONS = 8
_LONGEST = 256  # characters of an id or a credential
_SHARED_MEMORY, _SEQUENCE = "shared_memory_region", ("sequence_id", "sequence_start", "sequence_end")


@dataclass(frozen=True, slots=True)
class Output:
    """One output as it is wanted: raw or as JSON; of scores the best `classes` by name, or, with 0, all as numbers."""

    name: str
    binary: bool = False
    classes: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request without its tensors; `credential` is the token or key among its parameters, `timeout_us` how many
    microseconds it may wait."""

    outputs: tuple[Output, ...]
    id: str | None = None
    credential: str | None = field(default=None, repr=False)
    timeout_us: int | None = None


ALL_AS_JSON = (Output(SCORES), Output(LABEL))
ALL_RAW = (Output(SCORES, binary=True), Output(LABEL, binary=True))


def read(body: Body) -> Asked:
    """What is asked for, the input aside.

    Raises:
        InvalidInput: naming the field. Unsupported: shared memory, sequences.
    """
    if body.document is None:
        return Asked(ALL_RAW)
    document = body.document
    parameters = _object(document.get("parameters"), "parameters")
    for name in _SEQUENCE:
        if parameters.get(name):
            raise Unsupported(f"parameters.{name}", "requests of a sequence are not taken; each stands for itself")
    id, credential = (_text(value, field) for value, field in (
        (document.get("id"), "id"), (parameters.get(CREDENTIAL), f"parameters.{CREDENTIAL}")
    ))  # fmt: skip
    binary = _flag(parameters.get("binary_data_output"), "parameters.binary_data_output")
    timeout_us = _timeout(parameters.get("timeout"))
    wanted = document.get("outputs")
    if wanted is None or wanted == []:
        return Asked(ALL_RAW if binary else ALL_AS_JSON, id, credential, timeout_us)
    if not isinstance(wanted, list):
        raise InvalidInput("outputs", "a list is wanted")
    outputs = tuple(_output(each, f"outputs[{index}]", bool(binary)) for index, each in enumerate(wanted[:3]))
    if len(wanted) > len({output.name for output in outputs}):
        raise InvalidInput("outputs", f"each of {SCORES} and {LABEL} once at most")
    return Asked(outputs, id, credential, timeout_us)


def holds_pictures(body: Body) -> bool:
    """Whether the input is encoded pictures, as far as can be seen before it is checked."""
    inputs = (body.document or {}).get("inputs")
    first = inputs[0] if isinstance(inputs, list) and inputs else None
    return isinstance(first, dict) and first.get("datatype") == BYTES


def inputs_of(body: Body, spec: InputSpec, decoder: Decoder) -> Floats:
    """The input tensor as raw-range values (N, C, H, W).

    Raises:
        InvalidInput: naming the field. Unsupported: shared memory.
    """
    if body.document is None:
        return _raw_body(body.raw, spec, decoder)
    inputs = body.document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput("inputs", "a list of one input is wanted")
    if len(inputs) > 1:
        raise InvalidInput("inputs", f"{len(inputs)} inputs; this model has one, {spec.name}")
    tensor = _object(inputs[0], "inputs[0]")
    if tensor.get("name") != spec.name:
        raise InvalidInput("inputs[0].name", f"this model's input is {spec.name}")
    datatype, shape = _datatype(tensor.get("datatype")), _shape(tensor.get("shape"))
    count = _images(shape, datatype, spec)
    if count > decoder.max_images:
        raise InvalidInput("inputs[0].shape", f"{count} images; at most {decoder.max_images} are taken in one request")
    parameters = _object(tensor.get("parameters"), "inputs[0].parameters")
    if _SHARED_MEMORY in parameters:
        raise Unsupported(f"inputs[0].parameters.{_SHARED_MEMORY}", "there is no shared memory with callers")
    size = parameters.get("binary_data_size")
    if size is None:
        if body.raw:
            raise InvalidInput("body", f"{len(body.raw)} bytes follow the JSON, and no input has a binary_data_size")
        return _of_json(tensor.get("data"), datatype, shape, count, spec)
    if "data" in tensor:
        raise InvalidInput("inputs[0].data", "an input has data or a binary_data_size, not both")
    return _of_raw(_whole(body.raw, size), datatype, shape, count, spec, decoder)


def _of_json(data: object, datatype: str, shape: Sequence[int], count: int, spec: InputSpec) -> Floats:
    where = "inputs[0].data"
    if datatype in BINARY_ONLY or datatype == BYTES:
        raise InvalidInput("inputs[0].datatype", f"{datatype} is taken as a raw tensor (binary_data_size) only")
    if not isinstance(data, list):
        raise InvalidInput(where, "a list of numbers is wanted, flat or nested")
    sizes, numbers = flattened(data, where)
    if sizes != [math.prod(shape)] and sizes != list(shape):
        raise InvalidInput(where, f"{len(numbers)} numbers, nested as {sizes}; the shape says {list(shape)}")
    if datatype == "UINT8":
        return spec.from_grid(_levels(numbers, math.prod(spec.shape)).reshape(count, *spec.shape))
    return _checked(np.array(numbers, dtype=np.float64), count, spec)


def _of_raw(
    raw: memoryview, datatype: str, shape: Sequence[int], count: int, spec: InputSpec, decoder: Decoder
) -> Floats:
    where = "inputs[0]"
    if datatype == BYTES:
        pictures = elements_of(raw, where, count)
        if len(pictures) != count:
            raise InvalidInput(where, f"{len(pictures)} elements; the shape says {count}")
        return decoder.pictures([Part(f"{where}[{index}]", picture) for index, picture in enumerate(pictures)], spec)
    wanted = math.prod(shape) * VALUES[datatype].itemsize
    if len(raw) != wanted:
        field = "inputs[0].parameters.binary_data_size"
        raise InvalidInput(field, f"{len(raw)} bytes; {datatype} of shape {list(shape)} has {wanted}")
    numbers = values_of(raw, datatype)
    if datatype == "UINT8":
        return spec.from_grid(numbers.astype(np.uint8).reshape(count, *spec.shape))
    return _checked(numbers, count, spec)


def _raw_body(raw: memoryview, spec: InputSpec, decoder: Decoder) -> Floats:
    """The whole body is the one input, of the model's own datatype: FP32."""
    one = math.prod(spec.shape) * 4
    if not raw or len(raw) % one:
        raise InvalidInput("body", f"{len(raw)} bytes are no whole number of FP32 inputs, which have {one} each")
    if len(raw) // one > decoder.max_images:
        raise InvalidInput("body", f"{len(raw) // one} images; at most {decoder.max_images} are taken in one request")
    return _checked(values_of(raw, "FP32"), len(raw) // one, spec)


def _checked(numbers: NDArray[np.generic], count: int, spec: InputSpec) -> Floats:
    return check_values(as_float32(numbers).reshape(count, *spec.shape), spec, "inputs[0].data")


def _levels(numbers: list[float], one: int) -> NDArray[np.uint8]:
    """Whole numbers, `one` an image; who sends another is told in which image."""
    wrong = next((at for at, number in enumerate(numbers) if type(number) is not int or not 0 <= number <= 255), None)
    if wrong is not None:
        raise InvalidInput(f"inputs[0].data[{wrong // one}]", "UINT8 numbers are whole, from 0 to 255")
    return np.array(numbers, dtype=np.uint8)


def _whole(raw: memoryview, size: object) -> memoryview:
    if type(size) is not int or size < 0:
        raise InvalidInput("inputs[0].parameters.binary_data_size", "a number of bytes is wanted")
    if size != len(raw):
        raise InvalidInput(
            "inputs[0].parameters.binary_data_size", f"{size} bytes are announced, but {len(raw)} follow the JSON"
        )
    return raw


def _images(shape: Sequence[int], datatype: str, spec: InputSpec) -> int:
    """How many, as the shape says."""
    wanted = "(N,) or (N, 1)" if datatype == BYTES else f"(N, {', '.join(map(str, spec.shape))})"
    if datatype == BYTES and len(shape) in (1, 2) and tuple(shape[1:]) in ((), (1,)):
        return shape[0]
    if datatype != BYTES and tuple(shape[-3:]) == spec.shape and len(shape) in (3, 4):
        return shape[0] if len(shape) == 4 else 1
    raise InvalidInput("inputs[0].shape", f"{list(shape)}; this model takes {wanted} as {datatype}")


def _datatype(value: object) -> str:
    taken = [*VALUES, BYTES]
    if isinstance(value, str) and value in taken:
        return value
    known = isinstance(value, str) and value in OTHERS
    what = f"{value} is not taken here" if known else "is none of the protocol's"
    raise InvalidInput("inputs[0].datatype", f"{what}; this model takes {', '.join(taken)}")


def _shape(value: object) -> list[int]:
    sizes = value if isinstance(value, list) else []
    if not 1 <= len(sizes) <= _MOST_DIMENSIONS or any(type(size) is not int or not 1 <= size < 2**31 for size in sizes):
        raise InvalidInput("inputs[0].shape", "a list of whole numbers from 1 is wanted")
    return sizes


def _output(value: object, where: str, binary: bool) -> Output:
    wanted = _object(value, where)
    name = wanted.get("name")
    if name not in (SCORES, LABEL):
        raise InvalidInput(f"{where}.name", f"this model's outputs are {SCORES} and {LABEL}")
    parameters = _object(wanted.get("parameters"), f"{where}.parameters")
    if _SHARED_MEMORY in parameters:
        raise Unsupported(f"{where}.parameters.{_SHARED_MEMORY}", "there is no shared memory with callers")
    own, classes = (
        _flag(parameters.get("binary_data"), f"{where}.parameters.binary_data"),
        parameters.get("classification"),
    )
    if classes is not None and (type(classes) is not int or not 0 <= classes < 2**31 or name != SCORES):
        raise InvalidInput(f"{where}.parameters.classification", f"a number of classes is wanted, with {SCORES} only")
    return Output(str(name), binary if own is None else own, classes or 0)


def _object(value: object, field: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(field, "an object is wanted")
    return value


def _flag(value: object, field: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise InvalidInput(field, "true or false is wanted")


def _timeout(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63):
        return value or None  # 0: none, as Triton has it
    raise InvalidInput("parameters.timeout", "a number of microseconds is wanted")


def _text(value: object, field: str) -> str | None:
    if value is None or (isinstance(value, str) and len(value) <= _LONGEST):
        return value
    raise InvalidInput(field, f"a text of at most {_LONGEST} characters is wanted")
