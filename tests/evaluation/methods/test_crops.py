"""The registry, the classical rows, and how results get to both sizes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from spandrel.architectures.Compact import Compact as SRVGGNetCompact

from likeness.errors import ConfigError, InputError
from likeness.evaluation.methods.base import Method, MethodContext, MethodRegistry, at_both_sizes
from likeness.evaluation.methods.crops import METHODS
from likeness.nets.expert_f import ExpertF, ExpertFConfig
from likeness.nets.prior import Prior, PriorConfig
from likeness.nets.srnet import SRNet, SRNetConfig
from likeness.ops.resize import resize
from likeness.types import FloatArray, Pixels
from likeness.weights.external import load_external
from likeness.weights.files import save_weights


@pytest.fixture(scope="module")
def crop(aligned: Pixels) -> FloatArray:
    small = Image.fromarray(aligned).resize((256, 256), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


def _run(name: str, crop: FloatArray) -> dict[int, torch.Tensor]:
    (method,) = METHODS.make([name], MethodContext())
    before = crop.copy()
    result = at_both_sizes(name, list(method.run([crop, crop])), 2)
    assert np.array_equal(crop, before)
    assert {size: tuple(x.shape) for size, x in result.items()} == {256: (2, 3, 256, 256), 512: (2, 3, 512, 512)}
    return result


def _image(x: torch.Tensor) -> FloatArray:
    return x[1].permute(1, 2, 0).numpy()


def _pillow(crop: FloatArray, how: Image.Resampling) -> FloatArray:
    channels = [Image.fromarray(crop[..., c]).resize((512, 512), how) for c in range(3)]
    return np.clip(np.stack([np.asarray(c) for c in channels], axis=2), 0, 1)


def test_input_is_unchanged_at_256_and_bicubic_at_512(crop: FloatArray) -> None:
    result = _run("input", crop)
    assert np.array_equal(_image(result[256]), crop)
    # OpenCV's cubic takes a = -.75, Pillow's -.5: alike, not equal.
    assert np.abs(_image(result[512]) - _pillow(crop, Image.Resampling.BICUBIC)).mean() < 0.003


def test_lanczos_is_lanczos_and_goes_to_256_by_mean(crop: FloatArray) -> None:
    result = _run("lanczos", crop)
    full = _image(result[512])
    assert np.abs(full - _pillow(crop, Image.Resampling.LANCZOS)).mean() < 0.002
    np.testing.assert_allclose(_image(result[256]), full.reshape(256, 2, 256, 2, 3).mean((1, 3)), atol=1e-6)


def test_unsharp_adds_the_difference_to_the_blur(crop: FloatArray) -> None:
    expected = crop + (crop - gaussian_filter(crop, (1.5, 1.5, 0), mode="mirror"))
    assert np.abs(_image(_run("unsharp", crop)[256]) - np.clip(expected, 0, 1)).max() < 0.01


def test_expert_f_writes_what_its_network_writes(crop: FloatArray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ExpertFConfig((8, 8, 8), (1, 1, 1), (1, 1), (4, 4), 4)
    net = ExpertF(config).eval()
    for parameter in net.parameters():  # the head starts at zero, which any enlargement would match
        torch.nn.init.normal_(parameter, std=0.05)
    save_weights(tmp_path / "net.safetensors", "expert_f", config.to_dict(), net.state_dict(), {})
    context = MethodContext(weights={"expert_f": str(tmp_path / "net.safetensors")})
    (method,) = METHODS.make(["expert_f"], context)
    for parameter in net.parameters():  # as the file holds them
        parameter.data = parameter.data.half().float()
    with torch.no_grad():
        expected = net(torch.from_numpy(crop).permute(2, 0, 1)[None]).image.clamp(0, 1)
    output = at_both_sizes("expert_f", list(method.run([crop])), 1)
    torch.testing.assert_close(output[512], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(output[256], torch.nn.functional.avg_pool2d(expected, 2), atol=1e-4, rtol=0)
    assert method.weights == {"expert_f": hashlib.sha256((tmp_path / "net.safetensors").read_bytes()).hexdigest()}


def test_prior_writes_what_its_codes_decode_to(crop: FloatArray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = PriorConfig(16, 4, 2, (12, 8, 8, 4), (0, 1, 1), (1, 1, 1))
    net = Prior(config)
    torch.nn.init.normal_(net.decoder.leave256.weight, std=0.05)
    image = torch.from_numpy(crop).permute(2, 0, 1)[None]
    net.train()(image)
    save_weights(tmp_path / "p.safetensors", "prior", config.to_dict(), net.state_dict(), {})
    (method,) = METHODS.make(["prior"], MethodContext(weights={"prior": str(tmp_path / "p.safetensors")}))
    output = at_both_sizes("prior", list(method.run([crop])), 1)[512]
    net.load_state_dict({n: t.half().to(t.dtype) for n, t in net.state_dict().items()})
    net.eval()
    features, low = net.encode(image)
    indices = net.codebook.nearest(features)
    assert indices.unique().numel() > 4
    torch.testing.assert_close(output, net.decode_indices(indices, low).clamp(0, 1).detach(), atol=1e-5, rtol=0)
    assert method.weights == {"prior": hashlib.sha256((tmp_path / "p.safetensors").read_bytes()).hexdigest()}


def test_results_are_clipped() -> None:
    result = at_both_sizes("x", [np.full((512, 512, 3), 1.5, np.float32)], 1)
    assert float(result[256].max()) == float(result[512].max()) == 1


@pytest.mark.parametrize(
    ("restored", "count"),
    [
        pytest.param([np.zeros((256, 256, 3), np.float32)], 2, id="too few"),
        pytest.param([np.zeros((300, 300, 3), np.float32)], 1, id="other size"),
        pytest.param([np.zeros((256, 256, 3), np.float32), np.zeros((512, 512, 3), np.float32)], 2, id="mixed"),
    ],
)
def test_wrong_result_names_the_method(restored: list[FloatArray], count: int) -> None:
    with pytest.raises(InputError, match="method 'mine' returned"):
        at_both_sizes("mine", restored, count)


def test_registry_lists_its_names_and_refuses_duplicates() -> None:
    registry = MethodRegistry()
    registry.add("one", lambda context: Method("one", list))
    with pytest.raises(ConfigError, match="'one' is there already"):
        registry.add("one", lambda context: Method("other", list))
    assert registry.names == ("one",)
    assert [m.name for m in registry.make(["one"], MethodContext())] == ["one"]
    for names in (["two"], [], ["one", "one"]):
        with pytest.raises(ConfigError, match="distinct ones out of one"):
            registry.make(names, MethodContext())
    assert {"input", "lanczos", "unsharp", "expert_f", "prior"} <= set(METHODS.names)


@pytest.mark.parametrize(("scale", "size", "written"), [(2, None, 512), (1, 512, 512), (4, 256, 512), (1, 128, 256)])
def test_external_network_gets_crops_of_its_size(
    scale: int, size: int | None, written: int, crop: FloatArray, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "compact.safetensors"
    save_file(SRVGGNetCompact(num_feat=4, num_conv=1, upscale=scale).state_dict(), file)
    (method,) = METHODS.make(["external"], MethodContext(weights={"external": str(file)}, external_size=size))
    (output,) = method.run([crop])
    net = load_external(file, "x")
    read = np.clip(resize(crop, size or 512 // scale, size or 512 // scale), 0, 1)
    out = net.run(torch.from_numpy(read).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(output, resize(out, written, written), atol=1e-5)
    assert output.shape == (written, written, 3)
    assert method.weights == {"external": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_external_without_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"give external\.weights=FILE"):
        METHODS.make(["external"], MethodContext())


def test_srnet_is_run_from_its_file(crop: FloatArray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = SRNetConfig(8, 1)
    net = SRNet(config)
    torch.nn.init.normal_(net.leave.weight, std=0.1)
    save_weights(tmp_path / "srnet.safetensors", "srnet", config.to_dict(), net.state_dict(), {})
    (method,) = METHODS.make(["srnet"], MethodContext(weights={"srnet": str(tmp_path / "srnet.safetensors")}))
    with torch.no_grad():
        expected = net(torch.from_numpy(crop).permute(2, 0, 1)[None]).image[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(method.run([crop])[0], expected, atol=0.01)  # fp16 in the file
