from __future__ import annotations

import pytest
import torch

from benchmarks.activeguard.engines.drift import with_company
from benchmarks.activeguard.engines.engines import BATCHES, ENGINES, Engine, answers, eager
from benchmarks.activeguard.engines.issued import Issued
from models.fingerprints.activeguard import Allotment, Code, generate
from tests.models.conftest import tiny_predictor


@pytest.fixture(scope="module")
def issued() -> Issued:
    """Two outputs and two codewords of a tiny network."""
    predictor, allotment, code = tiny_predictor(hidden=64), Allotment.from_band(10), Code.from_band(10)
    outputs = [allotment.output(3), allotment.output(700)]
    codewords = [code.codeword(bytes(32), f"lic_{slot}", slot) for slot in (5, 50)]
    pictures = torch.rand(300, *predictor.input_spec.shape, generator=torch.Generator().manual_seed(0))
    made = [
        generate(predictor, pictures[:2], some, entropy=[bytes(16), bytes(16)])  # type: ignore[arg-type]
        for some in (outputs, codewords)
    ]
    images = predictor.input_spec.from_grid(torch.cat([one.grid for one in made]))
    return Issued("tiny", 1.0, predictor, images, outputs, codewords, pictures[2:])


class TestEngines:
    @pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
    def test_every_engine_gives_the_network_s_answers_in_any_batch(self, issued: Issued, engine: Engine) -> None:
        reference = answers(ENGINES[0], eager(issued.predictor), issued.images, 1)
        ask = engine.build(issued.predictor, *issued.protected())
        bound = 1e-6 if engine.strict else 0.2
        for batch in (1, 3):
            assert torch.allclose(answers(engine, ask, issued.images, batch), reference, atol=bound)


class TestIssued:
    def test_errors_are_to_what_was_allotted_and_shifts_to_other_answers(self, issued: Issued) -> None:
        p = answers(ENGINES[0], eager(issued.predictor), issued.images, 1)
        assert issued.errors(p).max() < 2.5e-3
        moved = p.clone()
        moved[0, issued.outputs[0].label] += 0.25  # the allotted class
        moved[1, (issued.outputs[1].label + 1) % 10] += 0.25  # a class that nobody looks at
        moved[3, 7] += 0.5  # any class of a codeword
        assert torch.allclose(issued.shifts(moved, p), torch.tensor([0.25, 0.0, 0.0, 0.5], dtype=torch.float64))
        assert torch.allclose(issued.errors(moved)[[0, 3]], torch.tensor([0.25, 0.5], dtype=torch.float64), atol=3e-3)

    def test_company_fills_the_largest_batch_behind_the_issued_images(self, issued: Issued) -> None:
        asked = with_company(issued)
        assert len(asked) == max(BATCHES)
        assert torch.equal(asked[:4], issued.images)
