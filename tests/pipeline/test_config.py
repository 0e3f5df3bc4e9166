"""Options by dotted words, by Hydra and by default are the same options."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException

from likeness.errors import ConfigError
from likeness.pipeline.config import RestorerConfig, from_json, from_overrides, to_config, to_json

CONFIGS = Path(__file__).parents[2] / "configs"

SAME = [
    [],
    ["upscale=2"],
    ["upscale=auto", "strength=0.25"],
    ["compare=yes"],
    ["compare=no"],
    ["faces.min=60", "faces.max=140.5"],
    ["faces.only=0"],
    ["faces.only=largest"],
    ["faces.min=null"],
    ["guard.enabled=false", "guard.strictness=2"],
    ["route.q_low=0", "route.large_but_bad=no"],
    ["composite.method=feather", "composite.grain=.5"],
    ["video.detect_every=3", "video.cut=1e1"],
    ["detect.score=0.5", "detect.max_side=800"],
    ["device=cuda:1", "precision=bf16", "cards=3"],
    ["weights.expert_f=/a/b.safetensors"],
    ["preset=balanced"],
    ["preset=speed"],
    ["preset=quality"],
    ["video.propagate.every=2", "preset=speed", "precision=fp32"],
]


@pytest.fixture
def hydra_config():
    GlobalHydra.instance().clear()
    ConfigStore.instance().store(name="restorer", node=RestorerConfig)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield lambda words: compose("infer", overrides=words)


@pytest.mark.parametrize("words", SAME, ids=lambda w: " ".join(w) or "defaults")
def test_both_ways_give_the_same(words, hydra_config):
    ours = from_overrides(words)
    assert isinstance(ours, RestorerConfig)
    assert to_config(hydra_config(words)) == ours
    assert (ours == RestorerConfig()) == (words in ([], ["faces.min=null"], ["preset=balanced"]))


def test_known_values():
    config = from_overrides(
        ["upscale=4", "strength=0.5", "faces.min=60", "faces.only=2", "guard.enabled=no", "video.detect_every=7"]
    )
    assert (config.upscale, config.strength, config.faces.min, config.faces.only) == ("4", 0.5, 60.0, "2")
    assert (config.guard.enabled, config.video.detect_every) == (False, 7)
    assert from_overrides(["strength=0.1", "strength=0.2"]).strength == 0.2


def test_presets_set_what_their_files_say_and_words_come_on_top():
    speed, default = from_overrides(["preset=speed"]), RestorerConfig()
    assert (speed.precision, speed.video.propagate.every, speed.video.effort) == ("fast", 5, "fast")
    assert (speed.runtime, speed.video.reduce, default.video.reduce) == ("auto", 1.0, 0.0)
    assert (speed.guard.every_frame, default.guard.every_frame) == (False, True)
    assert speed.route == default.route
    mine = from_overrides(["video.propagate.every=2", "preset=speed"])
    assert (mine.video.propagate.every, mine.video.detect_every) == (2, speed.video.detect_every)
    assert from_overrides(["preset=speed", "preset=balanced"]) == default


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param([], (True, 0.5), id="by default"),
        pytest.param(["expert_t.code_smoothing=0.2"], (True, 0.2), id="one of them given"),
        pytest.param(["expert_t.pool=false", "expert_t.code_smoothing=0"], (False, 0.0), id="neither wanted"),
        pytest.param(["expert.name=expert_f"], (False, 0.0), id="not its turn"),
        pytest.param(["runtime=onnx", "weights.onnx=x"], (True, 0.5), id="on another runtime"),
        pytest.param(["runtime=onnx", "weights.onnx=x", "expert_t.pool=false"], (False, 0.0), id="not in the graph"),
    ],
)
def test_expert_t_is_steady_where_it_can_be(words, expected):
    knobs = from_overrides(words).expert_t
    assert (knobs.pool, knobs.code_smoothing) == expected


@pytest.mark.parametrize("name", ["speed", "balanced", "quality"])
def test_presets_survive_json(name):
    config = from_overrides([f"preset={name}", "strength=0.5"])
    assert from_json(to_json(config)) == config
    assert from_json(json.dumps({"preset": name})) == from_overrides([f"preset={name}"])


@pytest.mark.parametrize("name", ["1e3", "no", "a, b [c] {d}.safetensors", "x=y", "ü 中", "12"])
def test_text_is_taken_as_it_stands(name):
    assert from_overrides([f"weights.expert_f={name}"]).weights.expert_f == name


BAD = [
    ("upscale=3", "upscale"),
    ("strength=1.5", "strength"),
    ("strength=much", "strength"),
    ("strength=", "strength"),
    ("strength=null", "strength"),
    ("gate.mode=open", "gate.mode"),
    ("gate.threshold=1.5", "gate.threshold"),
    ("compare=perhaps", "compare"),
    ("cards=25", "cards"),
    ("cards=2.5", "cards"),
    ("precision=fp8", "precision"),
    ("preset=fastest", "preset"),
    ("video.effort=none", "video.effort"),
    ("video.propagate.every=0", "video.propagate"),
    ("faces.only=smallest", "faces.only"),
    ("faces.only=-1", "faces.only"),
    ("composite.method=glue", "composite.method"),
    ("composite.mask=hat", "composite.mask"),
    ("background.strength=2", "background.strength"),
    ("composite.grain=2", "composite.grain"),
    ("background.name=magic", "background"),
    ("detect.name=retinaface", "detect.file"),
    ("detect.name=yolo", "detect.name"),
    ("background.name=srnet", "background.name"),
    ("guard.enabled=perhaps", "guard.enabled"),
    ("guard.strictness=0", "guard.strictness"),
    ("route.skip_below=120", "route"),
    ("video.detect_every=0", "video"),
    ("upscle=2", "upscle"),
    ("faces.mim=3", "mim"),
    ("faces=3", "faces"),
    ("faces.min.x=3", "faces.min.x"),
    ("upscale", "upscale"),
    ("=2", "=2"),
]


@pytest.mark.parametrize(("word", "named"), BAD, ids=[w for w, _ in BAD])
def test_bad_options_are_one_line_that_names_them(word, named):
    with pytest.raises(ConfigError) as caught:
        from_overrides([word])
    assert "\n" not in str(caught.value)
    assert named in str(caught.value)


def test_the_largest_face_may_not_be_narrower_than_the_least():
    with pytest.raises(ConfigError, match=r"min=90.* above max=80"):
        from_overrides(["faces.min=90", "faces.max=80"])


@pytest.mark.parametrize("word", ["upscle=2", "faces.mim=3", "strength=much"])
def test_hydra_refuses_misspelt_and_unfit_words(word, hydra_config):
    with pytest.raises(ConfigCompositionException):
        hydra_config([word])


SETTINGS = {
    "defaults": [],
    "text that looks like something else": ["upscale=2", "compare=no", "faces.only=0", "weights.lpips=1e3"],
    "numbers and nothing": ["strength=.25", "start=1.5", "faces.min=null", "route.q_low=90", "guard.enabled=false"],
    "files": ["expert.name=external", "expert.file=a b.pth", "background.name=external", "background.file=ü"],
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_survive_json(case):
    config = from_overrides(SETTINGS[case])
    assert from_json(to_json(config)) == config
    assert json.loads(to_json(config)) == asdict(config)


def test_settings_that_are_not_there_have_their_defaults():
    assert from_json('{"strength": 0.5}') == from_overrides(["strength=.5"])


WRONG_SETTINGS = {
    "no json": ("{", "settings: "),
    "a list": ("[1]", "JSON list"),
    "unknown": ('{"strenght": 1}', "strenght"),
    "of the wrong kind": ('{"strength": "much"}', "much"),
    "no sense": ('{"strength": 7}', "strength: got 7"),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_settings_that_are_none(case):
    text, said = WRONG_SETTINGS[case]
    with pytest.raises(ConfigError, match=said):
        from_json(text)
