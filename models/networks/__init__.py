"""The registry of architectures: ours, other distributions' entry points, and factories an operator allows.

A network is built from a name and a JSON object. Nothing here takes code from a caller: a name that is not registered
is refused, and `allow` is for the person who runs the machine.

An entry point in the group `signet.networks` names a factory that takes its configuration as keyword arguments.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

from torch import nn

from models.errors import ModelError, SpecError
from models.networks.dsn import DSN, FacesConfig, GTSRBConfig, MNISTConfig
from models.networks.lenet5 import LeNet5, LeNet5Config
from models.networks.resnet import ResNet, ResNetConfig
from models.networks.wide_resnet import WideResNet, WideResNetConfig

Factory = Callable[..., nn.Module]
GROUP = "signet.networks"


@dataclass(frozen=True)
class _Entry:
    load: Callable[[], Factory]
    config_type: type[Any] | None


_registry: dict[str, _Entry] = {}


def register(name: str, factory: Factory, config_type: type[Any] | None = None) -> None:
    """Make `factory` known as `name`.

    With `config_type`, a dataclass of int, float, bool and str fields, the factory takes one instance of it; without,
    it takes the configuration's keys as keyword arguments. A second registration replaces the first.
    """
    _registry[name] = _Entry(lambda: factory, config_type)


def allow(name: str, target: str) -> None:
    """Let `name` build what `target` points at: "package.module:factory" or "path/to/file.py:factory".

    For the operator of the machine: the module is imported, and its code runs, when the network is first built.
    Raises SpecError naming `network` when `target` is not of that form.
    """
    module, separator, attribute = target.rpartition(":")
    if not separator or not module or not attribute.isidentifier():
        raise SpecError("network", f"{target!r} is not of the form package.module:factory")
    _registry[name] = _Entry(lambda: _import(module, attribute), None)


def names() -> list[str]:
    """Every name that `build` knows, sorted."""
    return sorted({*_registry, *(point.name for point in entry_points(group=GROUP))})


def build(name: str, config: Mapping[str, object]) -> nn.Module:
    """A new network with fresh weights.

    Raises SpecError naming `network` for an unknown name or a factory that fails, and `network_config.<key>` for a
    key that is missing, unknown, of the wrong type or impossible.
    """
    entry = _find(name)
    factory = entry.load()
    if entry.config_type is None:
        _check_keywords(factory, config)
        network = _call(name, lambda: factory(**config))
    else:
        checked = _configure(entry.config_type, config)
        network = _call(name, lambda: factory(checked))
    if not isinstance(network, nn.Module):
        raise SpecError("network", f"the factory of {name!r} gave no torch module")
    return network


def _find(name: str) -> _Entry:
    if name in _registry:
        return _registry[name]
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _Entry(point.load, None)
    raise SpecError("network", f"{name!r} is not registered; known are {', '.join(names())}")


def _import(module: str, attribute: str) -> Factory:
    try:
        loaded = _import_file(module) if module.endswith(".py") else importlib.import_module(module)
        factory: Factory = getattr(loaded, attribute)
    except Exception as error:  # an operator's module may fail in any way; say so instead of dying of it
        raise SpecError("network", f"{module}:{attribute} could not be imported: {error}") from error
    return factory


def _import_file(path: str) -> object:
    spec = importlib.util.spec_from_file_location(f"signet_network_{Path(path).stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _call(name: str, factory: Callable[[], nn.Module]) -> nn.Module:
    try:
        return factory()
    except ModelError:
        raise
    except Exception as error:  # whatever a foreign factory throws, it is the configuration's fault, not a crash
        raise SpecError("network_config", f"{name!r} cannot be built from it: {error}") from error


def _check_keywords(factory: Factory, config: Mapping[str, object]) -> None:
    parameters = inspect.signature(factory).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in config:
        if not takes_any and key not in parameters:
            raise SpecError(f"network_config.{key}", "is not a known key")
    for key, parameter in parameters.items():
        variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if parameter.default is parameter.empty and not variadic and key not in config:
            raise SpecError(f"network_config.{key}", "is missing")


def _configure(config_type: type[Any], config: Mapping[str, object]) -> object:
    known = {field.name: field for field in fields(config_type)}
    hints = get_type_hints(config_type)
    for key, value in config.items():
        if key not in known:
            raise SpecError(f"network_config.{key}", "is not a known key")
        if type(value) is not hints[key] and not (hints[key] is float and type(value) is int):
            raise SpecError(f"network_config.{key}", f"must be of type {hints[key].__name__}")
    for key, field in known.items():
        if key not in config and field.default is MISSING and field.default_factory is MISSING:
            raise SpecError(f"network_config.{key}", "is missing")
    return config_type(**config)


register("dsn_faces", DSN, FacesConfig)
register("dsn_gtsrb", DSN, GTSRBConfig)
register("dsn_mnist", DSN, MNISTConfig)
register("lenet5", LeNet5, LeNet5Config)
register("resnet", ResNet, ResNetConfig)
register("wide_resnet", WideResNet, WideResNetConfig)
