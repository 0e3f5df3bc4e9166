"""Photos without a truth: what is measured before and after, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from PIL import Image
from skimage.data import astronaut

from likeness.errors import ConfigError, DataError
from likeness.evaluation.protocol.measures import Measures
from likeness.evaluation.run import evaluate
from likeness.evaluation.run_photos import face_line, to_scores
from likeness.evaluation.scores import Run
from likeness.pipeline.state import RoutedFace
from likeness.stages.align import align
from likeness.stages.measure import measure
from likeness.types import Decision, Faces

ASTRONAUT = np.array([(204.7, 100.5), (248.0, 104.0), (224.9, 129.4), (201.7, 138.8), (245.5, 142.6)], np.float32)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photos of one face, one of them small and poor, and one without any."""
    folder = tmp_path / "data" / "real_photos"
    folder.mkdir(parents=True)
    Image.fromarray(astronaut()).save(folder / "large.png")
    small = Image.fromarray(astronaut()).resize((400, 400)).resize((512, 512))
    small.crop((100, 0, 356, 256)).save(folder / "poor.jpg", quality=30)
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(folder / "nobody.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0nothing")
    monkeypatch.setenv("LIKENESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(tmp_path)
    return folder


def options(*words: str) -> object:
    with initialize_config_dir(str(Path(__file__).parents[2] / "configs"), version_base="1.3"):
        return compose("evaluate", ["benchmark=real", "output=out", *words])


def test_every_face_is_measured_before_and_after(photos: Path) -> None:
    results = evaluate(options())  # type: ignore[arg-type]
    lines = [li for li in Path("out/faces.csv").read_text().splitlines() if not li.startswith("#")]
    faces = {li["file"]: li for li in csv.DictReader(lines)}
    assert set(faces) == {"large.png", "poor.jpg"}
    assert faces["poor.jpg"]["route"] in ("expert_t", "expert_f")
    assert faces["poor.jpg"]["restored"] == "1"
    truth = measure(astronaut(), align(astronaut(), ASTRONAUT, 256))
    assert float(faces["large.png"]["width"]) == pytest.approx(truth.width, rel=0.05)
    assert float(faces["large.png"]["real_sharpness_before"]) == pytest.approx(truth.sharpness, rel=0.2)
    rows = {(r.view, r.method, r.metric): r for r in results.rows}
    change = rows["all faces", "pipeline", "detail"].difference
    assert change is not None
    after, before = (rows["all faces", m, "detail"].figure.value for m in ("pipeline", "input"))
    assert change.value == pytest.approx(after - before)
    text = Path("out/table.md").read_text()
    assert "have no true picture" in text
    assert "broken.jpg" in text
    assert "PSNR dB" not in text
    assert {"routes.png", "all-faces.png"} <= {p.name for p in Path("out").iterdir()}


def test_figures_are_measured_by_the_stages(measures: Measures) -> None:
    before, points = astronaut(), ASTRONAUT[None]
    after = np.clip(before.astype(int) + 20, 0, 255).astype(np.uint8)
    box = np.concatenate([ASTRONAUT.min(0), ASTRONAUT.max(0)])[None]
    crop = align(before, ASTRONAUT, 256)
    face = RoutedFace(
        number=0,
        face=Faces(box, np.ones(1, np.float32), points),
        points=points[0],
        crop=crop,
        profile=measure(before, crop),
        decision=Decision("resize", "already good"),
    )
    line = face_line("a.png", 0, before, after, face, measures)
    profile = measure(after, align(after, ASTRONAUT, 256))
    assert (line["noise_after"], line["blocks_after"]) == (profile.noise, profile.blockiness)
    assert line["detail_before"] == measure(before, crop).detail
    assert (line["restored"], line["verdict"], line["reason"]) == (0.0, "", "already good")
    # The embedder of the tests is a mean over 4 x 4 cells: 48 numbers, each about 20 / 255 higher.
    assert line["distance"] == pytest.approx(48**0.5 * 20 / 255, rel=0.1)
    scores = to_scores([line])
    assert scores.groups.tolist() == ["resize"]
    assert scores.values[Run("as they are", "input", 256)].keys() == {"real_sharpness", "detail", "noise", "blocks"}
    assert scores.values[Run("as they are", "pipeline", 256)]["distance"][0] == line["distance"]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["methods=[input,pipeline]"], ConfigError, r"got methods=\['input', 'pipeline'\].*pictures that are good"),
        (["recipe=heavy"], ConfigError, "recipe=heavy; expected"),
        (["data.photos=absent"], DataError, "no folder absent"),
        (["data.photos=."], DataError, "no photo in"),
    ],
    ids=["methods", "recipe", "no folder", "no photo"],
)
def test_methods_and_recipes_that_need_a_truth_are_refused(
    words: list[str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    words = [w.replace("=.", f"={tmp_path / 'empty'}") for w in words]
    with pytest.raises(error, match=message):
        evaluate(options(*words))  # type: ignore[arg-type]
