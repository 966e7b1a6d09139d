"""Clients that people have already, unmodified, over a real socket: NVIDIA's `tritonclient` and KServe's."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.asking import used
from tests.service.conftest import Issued

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.http as triton
    import tritonclient.http.aio as triton_aio
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
    from tritonclient.http.auth import BasicAuth
    from tritonclient.utils import InferenceServerException

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore"),  # the clients' own
]


@pytest.fixture
def truth(expected: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Scores (5, 10) as `/v1` gives them to the licensee."""
    return np.array([each["scores"] for each in expected])


def shown(levels: NDArray[np.uint8], *, binary: bool) -> Any:
    tensor = triton.InferInput("image", list(levels.shape), "FP32")
    tensor.set_data_from_numpy(levels.astype(np.float32) / np.float32(255), binary_data=binary)
    return tensor


async def in_a_thread(work: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(work)


class TestTriton:
    async def test_asks_the_server_and_the_model(self, address: str, model: str, admin_key: str) -> None:
        def ask() -> None:
            with triton.InferenceServerClient(address) as client:
                assert client.is_server_live()
                assert client.is_server_ready()
                assert client.is_model_ready("digits")
                assert client.is_model_ready("digits", "1")
                assert not client.is_model_ready("nosuch")
                assert client.get_server_metadata()["name"] == "signet"
                metadata = client.get_model_metadata("digits")
                assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 28, 28]}]
                assert [each["name"] for each in metadata["outputs"]] == ["scores", "label"]
                config = client.get_model_config("digits", "1", headers={"Authorization": f"Bearer {admin_key}"})
                assert (config["max_batch_size"], config["input"][0]["dims"]) == (1024, [1, 28, 28])
                with pytest.raises(InferenceServerException, match="admin key"):
                    client.get_model_config("digits")

        await in_a_thread(ask)

    @pytest.mark.parametrize("binary", [False, True])
    @pytest.mark.parametrize("compressed", [None, "gzip", "deflate"])
    async def test_infers(
        self,
        binary: bool,
        compressed: str | None,
        address: str,
        licensed: Issued,
        levels: NDArray[np.uint8],
        truth: NDArray[np.float64],
    ) -> None:
        def ask() -> None:
            with triton.InferenceServerClient(address) as client:
                answer = client.infer(
                    "digits",
                    [shown(levels, binary=binary)],
                    model_version="1",
                    request_id="seven",
                    headers=licensed.bearer,
                    request_compression_algorithm=compressed,
                    response_compression_algorithm=compressed,
                )
                assert answer.as_numpy("scores") == pytest.approx(truth, abs=1e-6)
                assert answer.as_numpy("label").tolist() == [b"%d" % each for each in truth.argmax(axis=1)]
                assert answer.get_response()["id"] == "seven"

        await in_a_thread(ask)

    @pytest.mark.parametrize("binary", [False, True])
    async def test_names_its_outputs_and_asks_for_the_best_classes(
        self, binary: bool, address: str, licensed: Issued, levels: NDArray[np.uint8], truth: NDArray[np.float64]
    ) -> None:
        def ask() -> None:
            wanted = [triton.InferRequestedOutput("scores", binary_data=binary, class_count=3)]
            with triton.InferenceServerClient(address) as client:
                answer = client.infer("digits", [shown(levels, binary=True)], outputs=wanted, headers=licensed.bearer)
                best = answer.as_numpy("scores")
                assert best.shape == (5, 3)
                first = best[0, 0].decode() if isinstance(best[0, 0], bytes) else best[0, 0]
                assert first.split(":")[1] == str(truth[0].argmax())
                assert answer.as_numpy("label") is None

        await in_a_thread(ask)

    async def test_unloads_and_loads_for_the_owner(
        self, address: str, model: str, admin_key: str, levels: NDArray[np.uint8]
    ) -> None:
        owner = {"Authorization": f"Bearer {admin_key}"}

        def ask() -> None:
            with triton.InferenceServerClient(address) as client:
                client.unload_model("digits", headers=owner, unload_dependents=True)
                assert not client.is_model_ready("digits")
                (listed,) = client.get_model_repository_index(headers=owner)
                assert (listed["state"], listed["reason"]) == ("UNAVAILABLE", "unloaded")
                with pytest.raises(InferenceServerException, match="unloaded this model"):
                    client.infer("digits", [shown(levels, binary=True)])
                with pytest.raises(InferenceServerException, match="no parameter of a request changes them"):
                    client.load_model("digits", headers=owner, config="{}")
                with pytest.raises(InferenceServerException, match="admin key"):
                    client.load_model("digits")
                client.load_model("digits", headers=owner)
                assert client.is_model_ready("digits")
                client.infer("digits", [shown(levels, binary=True)])

        await in_a_thread(ask)

    async def test_is_told_what_is_not_spoken_here(self, address: str, model: str, admin_key: str) -> None:
        owner = {"Authorization": f"Bearer {admin_key}"}

        def ask() -> None:
            with triton.InferenceServerClient(address) as client:
                for name, refused in {
                    "shared memory": client.get_system_shared_memory_status,
                    "trace settings": client.get_trace_settings,
                    "log settings": client.get_log_settings,
                }.items():
                    with pytest.raises(InferenceServerException, match=f"{name}: not here") as raised:
                        refused(headers=owner)
                    assert raised.value.status() == "501"

        await in_a_thread(ask)

    async def test_shows_its_key_on_every_call_as_basic(
        self, address: str, licensed: Issued, admin: Any, levels: NDArray[np.uint8], truth: NDArray[np.float64]
    ) -> None:
        before = await used(admin, licensed)

        def ask() -> None:
            with triton.InferenceServerClient(address) as client:
                client.register_plugin(BasicAuth("anybody", licensed.secret))
                answer = client.infer("digits", [shown(levels, binary=True)])
                assert answer.as_numpy("scores") == pytest.approx(truth, abs=1e-6)

        await in_a_thread(ask)
        assert await used(admin, licensed) == before + 5

    async def test_is_told_what_is_wrong(self, address: str, model: str, levels: NDArray[np.uint8]) -> None:
        def ask() -> None:
            with triton.InferenceServerClient(address) as client:
                with pytest.raises(InferenceServerException, match="no model of this name"):
                    client.infer("nosuch", [shown(levels, binary=True)])
                with pytest.raises(InferenceServerException, match="this model's input is image") as raised:
                    client.infer("digits", [triton.InferInput("x", [1], "FP32").set_data_from_numpy(np.ones(1, "f4"))])
                assert raised.value.status() == "400"

        await in_a_thread(ask)

    async def test_lists_the_repository_with_an_admins_key(self, address: str, model: str, admin_key: str) -> None:
        def ask() -> None:
            with triton.InferenceServerClient(address) as client:
                listed = client.get_model_repository_index(headers={"Authorization": f"Bearer {admin_key}"})
                assert listed == [{"name": "digits", "version": "1", "state": "READY", "reason": ""}]
                with pytest.raises(InferenceServerException, match="admin key"):
                    client.get_model_repository_index()

        await in_a_thread(ask)

    async def test_reads_statistics_with_an_admins_key(
        self, address: str, licensed: Issued, admin_key: str, levels: NDArray[np.uint8]
    ) -> None:
        def ask() -> None:
            shows = {"Authorization": f"Bearer {admin_key}"}
            with triton.InferenceServerClient(address) as client:
                client.infer("digits", [shown(levels, binary=True)], headers=licensed.bearer)
                client.infer("digits", [shown(levels, binary=False)])
                with pytest.raises(InferenceServerException):
                    client.infer("digits", [shown(levels[:, :, :-1], binary=True)])
                for found in (
                    client.get_inference_statistics(headers=shows),
                    client.get_inference_statistics("digits", headers=shows),
                    client.get_inference_statistics("digits", "1", headers=shows),
                ):
                    one = found["model_stats"][0]
                    assert (one["name"], one["version"], one["inference_count"]) == ("digits", "1", 10)
                    assert 1 <= one["execution_count"] <= 2
                    assert one["last_inference"] > 1.7e12
                    counts = {name: each["count"] for name, each in one["inference_stats"].items()}
                    legs = ("success", "queue", "compute_input", "compute_infer", "compute_output")
                    assert counts == {**dict.fromkeys(legs, 2), "fail": 1}
                    assert all(each["ns"] > 0 for each in one["inference_stats"].values())
                with pytest.raises(InferenceServerException, match="admin key"):
                    client.get_inference_statistics()

        await in_a_thread(ask)

    async def test_infers_asynchronously(
        self, address: str, licensed: Issued, levels: NDArray[np.uint8], truth: NDArray[np.float64]
    ) -> None:
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_model_ready("digits")
            answers = await asyncio.gather(
                *(
                    client.infer("digits", [shown(levels, binary=each)], headers=licensed.bearer)
                    for each in (True, False)
                )
            )
        for answer in answers:
            assert answer.as_numpy("scores") == pytest.approx(truth, abs=1e-6)


class TestKServe:
    async def test_asks_and_infers(
        self, address: str, licensed: Issued, levels: NDArray[np.uint8], truth: NDArray[np.float64]
    ) -> None:
        base, client = f"http://{address}", InferenceRESTClient(RESTConfig(protocol="v2"))
        assert await client.is_server_live(base)
        assert await client.is_server_ready(base)
        assert await client.is_model_ready(base, "digits")
        assert not await client.is_model_ready(base, "nosuch")
        for binary in (False, True):
            tensor = InferInput("image", list(levels.shape), "FP32")
            tensor.set_data_from_numpy(levels.astype(np.float32) / np.float32(255), binary_data=binary)
            asked = InferRequest("digits", [tensor], request_id="eight")
            answer = await client.infer(base, asked, model_name="digits", headers=licensed.bearer)
            assert answer.id == "eight"
            assert answer.outputs[0].as_numpy().reshape(5, 10) == pytest.approx(truth, abs=1e-6)
        await client.close()

    async def test_is_told_what_is_wrong(self, address: str, model: str) -> None:
        client = InferenceRESTClient(RESTConfig(protocol="v2"))
        tensor = InferInput("x", [1], "FP32")
        tensor.set_data_from_numpy(np.ones(1, np.float32), binary_data=False)
        with pytest.raises(Exception, match="this model's input is image"):
            await client.infer(f"http://{address}", InferRequest("digits", [tensor]), model_name="digits")
        await client.close()
