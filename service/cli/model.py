"""`signet model`."""

import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Table

from service.cli.api import Api, Options, console, fail, say

if TYPE_CHECKING:  # importing it imports torch: not for `--help`
    from service.catalogue.artefacts import Artefact

app = typer.Typer(help="Networks behind the gateway.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="Lower-case letters, digits, dot, dash, underscore.")]
Policy = Annotated[Literal["decoy", "deny"] | None, typer.Option(help="What strangers get.")]
Bits = Annotated[int, typer.Option(min=64, help="Of a serial number.")]
LayoutKind = Annotated[
    Literal["corner", "border", "lattice"], typer.Option(help="Where a serial number stands in an image.")
]
StudentNetwork = Annotated[str | None, typer.Option(help="Of a student. Default: to fit the images.")]
StudentEpochs = Annotated[
    int | None, typer.Option(min=1, help="Of a distillation. Default: 14, and more where there are few images.")
]
_STATES = {"serving": "green", "ready": "cyan", "retired": "dim", "unloaded": "yellow"}


@app.command()
def protect(
    context: typer.Context,
    name: Name,
    network: Annotated[str, typer.Option(help="A registered architecture.")] = "lenet5",
    dataset: Annotated[str, typer.Option(help="digits, or mnist under SIGNET_DATA_DIR.")] = "digits",
    epochs: Annotated[int | None, typer.Option(help="Default: the data set's preset.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    unauthorized_policy: Policy = None,
    serial_numbers: Annotated[
        bool,
        typer.Option("--serial-numbers", help="Also pack the training images: students will be distilled of them."),
    ] = False,
    bits: Bits = 64,
    layout: LayoutKind = "lattice",
    student_network: StudentNetwork = None,
    student_epochs: StudentEpochs = None,
) -> None:
    """Train a network on a data set and put it behind the gateway."""
    from models.errors import ModelError
    from service.cli.students import StudentOptions
    from service.cli.training import train_artefact

    _check_name(name)
    options: Options = context.obj
    api = _api_of_new_or_old_home(options)  # before the training: a key that is missing is said at once
    try:
        _allow_networks(options)
        data_dir = options.settings.data_dir
        students = StudentOptions(bits, layout, student_network, student_epochs) if serial_numbers else None
        artefact = train_artefact(name, network, dataset, data_dir, epochs=epochs, seed=seed, students=students)
    except ModelError as error:
        raise fail(str(error)) from None
    _print(options, upload(api, artefact, unauthorized_policy))


@app.command()
def pack(
    context: typer.Context,
    name: Name,
    out: Annotated[Path, typer.Option("--out", "-o", help="A new folder, for `signet model add`.")],
    network: Annotated[str, typer.Option(help="A registered architecture.")],
    weights: Annotated[Path, typer.Option(help="safetensors")],
    calibration: Annotated[Path, typer.Option(help="NPY (N, C, H, W): uint8 grey levels, or float32 in the range.")],
    labels: Annotated[str, typer.Option(help="Class names in order, with commas between.")],
    network_config: Annotated[str, typer.Option(help="JSON")] = "{}",
    mode: Annotated[str, typer.Option(help="L, RGB or tensor")] = "L",
    value_range: Annotated[tuple[float, float], typer.Option(help="What darkest and brightest are on the wire.")] = (
        0,
        1,
    ),
    mean: Annotated[list[float] | None, typer.Option(help="Of the raw range; repeatable, one a channel.")] = None,
    std: Annotated[list[float] | None, typer.Option(help="Of the raw range; repeatable, one a channel.")] = None,
    resize: Annotated[str, typer.Option(help="refuse or fit")] = "refuse",
    output: Annotated[str, typer.Option(help="What the network gives: logits or probabilities.")] = "logits",
    code: Annotated[
        str, typer.Option(help="What fingerprints allot of an answer: codeword (all of it, secret) or confidence.")
    ] = "codeword",
    confidence: Annotated[list[float] | None, typer.Option(help="Of fingerprints; repeatable. None: a band.")] = None,
    epsilon: Annotated[float, typer.Option(help="Tolerable error of a fingerprint's answer.")] = 0.001,
    longest: Annotated[int, typer.Option(help="Fingerprints that one license may carry at most.")] = 4,
    distillation: Annotated[
        Path | None, typer.Option(help="NPY (M, C, H, W), uint8: for serial numbers, what students are distilled of.")
    ] = None,
    bits: Bits = 64,
    layout: LayoutKind = "lattice",
    student_network: StudentNetwork = None,
    student_epochs: StudentEpochs = None,
) -> None:
    """Make an artefact folder of a network that is trained already."""
    from models.errors import ModelError
    from service.catalogue.artefacts import write_folder
    from service.cli.packing import pack_artefact
    from service.cli.students import StudentOptions

    _check_name(name)
    spec = {"mode": mode, "value_range": value_range, "mean": mean or [0.0], "std": std or [1.0], "resize": resize}
    fingerprints = {"code": code, "confidences": confidence or None, "epsilon": epsilon, "longest": longest}
    students = StudentOptions(bits, layout, student_network, student_epochs)
    try:
        _allow_networks(context.obj)
        artefact = pack_artefact(
            name,
            network,
            network_config,
            weights,
            calibration,
            spec,
            labels.split(","),
            output,
            fingerprints,
            distillation,
            students,
        )
        write_folder(out, artefact)
    except (ModelError, OSError) as error:
        raise fail(str(error)) from None
    say(f"packed into {out}; next: signet model add {shlex.quote(str(out))}")


@app.command()
def add(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Holds manifest.json, weights.safetensors, calibration.safetensors.")],
    unauthorized_policy: Policy = None,
    serve: Annotated[bool, typer.Option(help="Let it answer requests that name no version.")] = True,
) -> None:
    """Put an existing network behind the gateway: a folder with manifest, weights and calibration set."""
    from models.errors import ModelError
    from service.catalogue.artefacts import read_folder

    try:
        artefact = read_folder(folder)
    except ModelError as error:
        raise fail(str(error)) from None
    _print(context.obj, upload(_api_of_new_or_old_home(context.obj), artefact, unauthorized_policy, serve=serve))


@app.command("list")
def list_(context: typer.Context) -> None:
    """Models and their versions."""
    options: Options = context.obj
    models = Api(options).every("/v1/models")
    if options.as_json:
        console.print_json(data=models)
        return
    table = Table("model", "version", "state", "network", "classes", "strangers get", "since")
    for model in models:
        for version in model["versions"]:
            table.add_row(*_cells(model, version))
    console.print(table)


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """One model."""
    _print(context.obj, Api(context.obj).call("GET", f"/v1/models/{name}"))


@app.command()
def serve(context: typer.Context, name: Name, version: int) -> None:
    """Let a version answer requests that name none."""
    _print(context.obj, Api(context.obj).call("POST", f"/v1/models/{name}/versions/{version}/serve"))


@app.command()
def retire(context: typer.Context, name: Name, version: int) -> None:
    """Take a version out of use; fingerprints enrolled on it still authenticate."""
    _print(context.obj, Api(context.obj).call("POST", f"/v1/models/{name}/versions/{version}/retire"))


@app.command()
def load(context: typer.Context, name: Name) -> None:
    """Let a model answer again that was unloaded, or read one again that did not load."""
    _repository(context.obj, name, "load")


@app.command()
def unload(context: typer.Context, name: Name) -> None:
    """Take a model out of memory on every gateway: it answers nobody until it is loaded again."""
    _repository(context.obj, name, "unload")


def _repository(options: Options, name: str, act: str) -> None:
    api = Api(options)
    api.call("POST", f"/v2/repository/models/{name}/{act}")
    _print(options, api.call("GET", f"/v1/models/{name}"))


def _check_name(name: str) -> None:
    """Before the work: the gateway would say it only after the training."""
    from service.ids import is_model_name

    if not is_model_name(name):
        raise fail("NAME: lower-case letters, digits, dot, dash and underscore; 63 at most", 2)


def _allow_networks(options: Options) -> None:
    from models import networks

    for name, target in options.settings.networks.items():
        networks.allow(name, target)


def _api_of_new_or_old_home(options: Options) -> Api:
    """Protecting a model may be the first thing that an owner does."""
    if options.server is None:
        from service.cli.home import prepare

        prepare(options.settings)
    return Api(options)


def upload(api: Api, artefact: "Artefact", policy: str | None = None, *, serve: bool = True) -> Any:
    """`POST /v1/models` with an artefact's files."""
    from service.catalogue.artefacts import CALIBRATION, DISTILLATION, MANIFEST, WEIGHTS

    files = {
        "manifest": (MANIFEST, artefact.manifest.to_bytes(), "application/json"),
        "weights": (WEIGHTS, artefact.weights, "application/octet-stream"),
        "calibration": (CALIBRATION, artefact.calibration, "application/octet-stream"),
    }
    if artefact.distillation is not None:
        files["distillation"] = (DISTILLATION, artefact.distillation, "application/octet-stream")
    form = {"serve": str(serve).lower(), **({"unauthorized_policy": policy} if policy else {})}
    return api.call("POST", "/v1/models", files=files, data=form)


def _state(model: dict[str, Any], version: dict[str, Any]) -> str:
    unloaded = model["unloaded"] and version["state"] != "retired"
    state = "unloaded" if unloaded else version["state"]
    return f"[{_STATES.get(state, 'default')}]{escape(state)}[/]"


def _cells(model: dict[str, Any], version: dict[str, Any]) -> list[str]:
    return [
        escape(model["name"]),
        str(version["version"]),
        _state(model, version),
        escape(version["network"]),
        str(version["output_spec"]["classes"]),
        escape(model["unauthorized_policy"]),
        f"{datetime.fromisoformat(version['created_at']):%Y-%m-%d %H:%M}",
    ]


def _print(options: Options, model: dict[str, Any]) -> None:
    if options.as_json:
        console.print_json(data=model)
        return
    table = Table("model", "version", "state", "network", "classes", "strangers get", "since")
    for version in model["versions"]:
        table.add_row(*_cells(model, version))
    console.print(table)
    for metric, value in model["versions"][-1]["metrics"].items():
        say(f"{metric.replace('_', ' ')}: {value:.4g}")
