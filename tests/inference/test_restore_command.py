"""`likeness restore`: paths as they are typed, one line an error, and good files finish beside bad ones."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image
from rich.console import Console

from likeness.cli import Paths, expand, main, restore_all, spell_out, split_paths
from likeness.errors import ConfigError, InputError, OutputError, UnexpectedError
from likeness.media import images
from likeness.pipeline.config import from_overrides

pytestmark = pytest.mark.usefixtures("quick")

STRANGE = [
    "a=b.png",
    "two words.png",
    "[1] {2} (3).png",
    "ünï 中文 🙂.png",
    "a,b;c.png",
    "${x} #y 'z' \"q\".png",
    "-dash.png",
]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", STRANGE)
def test_paths_are_taken_as_they_are_typed(name):
    paths, rest = split_paths([f"input={name}", "upscale=2", f"output={name}/o=1", f"reference={name}", "faces.min=3"])
    assert paths == Paths((Path(name),), Path(f"{name}/o=1"), Path(name))
    assert rest == ["upscale=2", "faces.min=3"]


def test_paths_keep_their_order_and_have_defaults():
    assert split_paths([]) == (Paths(), [])
    paths, rest = split_paths(["input=b", "x", "input=a", "y=1"])
    assert paths.inputs == (Path("b"), Path("a"))
    assert rest == ["x", "y=1"]


@pytest.mark.parametrize("name", [*STRANGE, r"C:\a\b.pth", "ends with \\", r"\'quoted\'", r"\${deep}", "a" * 200])
def test_short_forms_keep_any_file_name_through_both_parsers(name):
    assert from_overrides(spell_out([f"expert.file={name}", "expert=external"])).expert.file == name
    key, _, rest = spell_out([f"expert.file={name}"], quote=True)[0].partition("=")
    override = OverridesParser.create().parse_override(f"{key}={rest}")
    node = OmegaConf.create({"weights": override.value()})
    assert (override.key_or_group, OmegaConf.to_object(node)) == ("expert.file", {"weights": name})


def test_short_forms_are_spelt_out_and_other_words_stay():
    words = ["expert=external", "background=lanczos", "detect=mtcnn", "detect.score=.8", "upscale=2", "expert", "x=a=b"]
    expected = ["expert.name=external", "background.name=lanczos", "detect.name=mtcnn", *words[3:]]
    assert spell_out(words) == expected
    assert spell_out(words[:1], quote=True) == ["expert.name='external'"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["input="], "input=: is empty"),
        (["output="], "output=: is empty"),
        (["reference="], "reference=: is empty"),
        (["output=a", "output=b"], "output=: given 2 times"),
        (["reference=a", "reference=b"], "reference=: given 2 times"),
    ],
)
def test_empty_and_repeated_paths_are_refused(words, message):
    with pytest.raises(ConfigError, match=message):
        split_paths(words)


@pytest.mark.parametrize("name", STRANGE)
def test_any_file_name_is_restored(portrait_file, tmp_path, capsys, name):
    source = portrait_file(f"in/{name}")
    assert main(["restore", str(source), f"output={tmp_path / 'out'}", "device=cpu", "upscale=1"]) == 0
    folder = tmp_path / "out" / source.stem
    assert (folder / name).is_file()
    report = json.loads((folder / f"{source.stem}_report.json").read_text())
    assert report["input"]["file"] == str(source)
    assert report["totals"]["restored"] == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1].strip() == "1 face: 1 restored"
    assert "psnr" not in out.lower()


def broken(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "in" / f"{kind.replace(' ', '_')}.png"
    path.parent.mkdir(exist_ok=True)
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("this is no picture\n" * 50)
    elif kind == "cut off":
        stored = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3)).astype(np.uint8)).save(stored, "PNG")
        path.write_bytes(stored.getvalue()[:4000])
    elif kind == "video cut off":
        path = path.with_suffix(".mp4")
        path.write_bytes(b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(900))
    elif kind == "gif cut off":
        path = path.with_suffix(".gif")
        path.write_bytes(b"GIF89a\x20\x00\x20\x00\x80\x00\x00\xff\xff")
    return path


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut off", "video cut off", "gif cut off"])
def test_a_bad_file_is_one_line_and_an_exit_code(tmp_path, capsys, kind):
    source = broken(tmp_path, kind)
    assert main(["restore", str(source), f"output={tmp_path / 'out'}"]) == InputError.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("error: ")
    assert source.name in line
    assert "Traceback" not in line
    assert not (tmp_path / "out").exists() or tree(tmp_path / "out") == {}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["paint", "x.png"], 4, "expected restore, live, demo, serve, gif"),
        (["restore"], 4, "nothing given"),
        (["restore", "x.png", "upscale=3"], 4, "upscale"),
        (["restore", "x.png", "upscle=2"], 4, "upscle"),
        (["restore", "input="], 4, "empty"),
        (["demo", "strength=2"], 4, "strength"),
        (["restore", "no/such/file.png"], 2, "no such file"),
    ],
)
def test_wrong_words_are_one_line_and_an_exit_code(words, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize("words", [[], ["--help"], ["restore", "-h"]], ids=str)
def test_help_is_printed_without_or_on_request(words, capsys):
    assert main(words) == 0
    assert "usage: likeness restore" in capsys.readouterr().out


def test_good_files_of_a_folder_finish_beside_bad_ones(portrait_file, tmp_path, capsys):
    for name in ("in/a.png", "in/sub/b.jpg", "in/sub/a.png"):
        portrait_file(name)
    for kind in ("empty", "text"):
        broken(tmp_path, kind)
    (tmp_path / "in" / "notes.txt").write_text("no medium")
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    before = tree(tmp_path / "in")
    code = main(["restore", str(tmp_path / "in"), f"output={tmp_path / 'out'}", "upscale=1", "cards=0"])
    assert code == InputError.exit_code
    captured = capsys.readouterr()
    assert len(captured.err.strip().splitlines()) == 2
    assert captured.out.count("1 face: 1 restored") == 3
    assert captured.out.splitlines()[-1] == (
        f"{tmp_path / 'in'}: skipped 1 linked folder (name it to restore what it holds), "
        "1 text file (it holds no picture)"
    )
    written = {name for name in tree(tmp_path / "out") if not name.endswith(("_report.json",))}
    assert {"a/a.png", "sub/b/b.jpg", "sub/a/a.png"} <= written
    assert not [name for name in written if "empty" in name or "text" in name or ".likeness" in name]
    assert tree(tmp_path / "in") == before


def test_a_folder_without_media_stops_nothing_else(portrait_file, tmp_path, capsys):
    good, none = portrait_file("a.png"), tmp_path / "none"
    none.mkdir()
    (none / "a.txt").write_text("words")
    code = main(["restore", str(none), str(good), f"output={tmp_path / 'out'}", "upscale=1", "cards=0"])
    assert code == InputError.exit_code
    assert "none: holds no photo, video or GIF, only 1 text file" in capsys.readouterr().err
    assert (tmp_path / "out" / "a" / "a.png").is_file()


def test_inputs_that_share_a_name_do_not_share_a_folder(portrait_file, tmp_path):
    for name in ("one/a.png", "two/a.png", "three/a.jpg", "three/a.png"):
        portrait_file(name)
    jobs = expand([tmp_path / "one" / "a.png", tmp_path / "two", tmp_path / "three"], tmp_path / "out").folders
    assert len(jobs) == len(set(jobs.values())) == 4
    assert all((tmp_path / "out") in folder.parents for folder in jobs.values())
    assert jobs[tmp_path / "one" / "a.png"] == tmp_path / "out" / "a"


def test_a_file_named_twice_is_restored_once(portrait_file, tmp_path):
    source = portrait_file("one/a.png")
    assert len(expand([source, source, source.parent], tmp_path / "out").folders) == 1


def test_results_of_earlier_runs_are_not_taken_for_inputs(portrait_file, tmp_path):
    portrait_file("in/a.png")
    portrait_file("in/out/a/a.png")
    assert list(expand([tmp_path / "in"], tmp_path / "in" / "out").folders) == [tmp_path / "in" / "a.png"]
    with pytest.raises(InputError, match="also the output"):
        expand([tmp_path / "in"], tmp_path / "in")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"holds no photo, video or GIF; give"):
        expand([tmp_path / "none"], tmp_path / "out")
    (tmp_path / "none" / "a.txt").write_text("words")
    with pytest.raises(InputError, match=r"holds no photo, video or GIF, only 1 text file \(it holds no picture\)"):
        expand([tmp_path / "none"], tmp_path / "out")


def test_a_word_with_an_equals_sign_may_be_a_file(portrait_file, tmp_path, monkeypatch):
    source = portrait_file("upscale=2.png")
    monkeypatch.chdir(tmp_path)
    assert main(["restore", source.name, "upscale=1", "output=out"]) == 0
    assert (tmp_path / "out" / "upscale=2" / "upscale=2.png").is_file()


def test_nothing_to_restore_is_copied_byte_for_byte(portrait_file, tmp_path, capsys):
    source = portrait_file("in/a.jpg")
    assert (
        main(["restore", str(source), f"output={tmp_path / 'o'}", "upscale=1", "faces.min=200", "background=lanczos"])
        == 0
    )
    assert (tmp_path / "o" / "a" / "a.jpg").read_bytes() == source.read_bytes()
    assert "copied" in capsys.readouterr().out


def test_figures_are_printed_only_with_a_reference(portrait_file, tmp_path, capsys):
    source = portrait_file("in/a.png")
    truth = tmp_path / "truth.png"
    shutil.copy(source, truth)
    words = ["restore", str(source), f"output={tmp_path / 'o'}", "upscale=1"]
    assert main([*words, f"reference={truth}"]) == 0
    out = capsys.readouterr().out
    assert "output against the reference: psnr" in out
    assert "input against the reference: psnr equal" in out
    assert "identity_cosine" in out
    assert main(words) == 0
    assert "reference" not in capsys.readouterr().out


def test_one_reference_for_many_inputs_is_refused(portrait_file, tmp_path):
    inputs = (portrait_file("in/a.png"), portrait_file("in/b.png"))
    with pytest.raises(ConfigError, match="one file for 2 inputs"):
        restore_all(Paths(inputs, tmp_path / "o", inputs[0]), from_overrides([]))


def test_errors_keep_brackets_and_stay_one_line(tmp_path):
    screen = io.StringIO()
    missing = tmp_path / ("[red]very " + "long " * 40 + "name[/red].png")
    code = restore_all(Paths((missing,), tmp_path / "o"), from_overrides([]), Console(file=screen, width=40))
    assert code == InputError.exit_code
    assert screen.getvalue().count("\n") == 1
    assert missing.name in screen.getvalue()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("-", "standard input is not read"),
        ("https://example.org/a.jpg", "is an address"),
        ("https://example.org/a?b=c.jpg", "is an address"),
        ("rtsp://camera/1", "is an address"),
        ("x" * 300 + ".jpg", "name too long"),
    ],
)
def test_what_is_no_path_is_told_in_one_line(word, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["restore", word]) == InputError.exit_code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line.replace("File name", "name")


def test_an_unforeseen_error_is_one_line_and_the_rest_goes_on(portrait_file, tmp_path, capsys, monkeypatch):
    first, second = portrait_file("in/a.png"), portrait_file("in/b.png")
    reading = images.Image.open

    def failing(file, *args, **options):
        if file == first:
            raise BufferError("two\nlines")
        return reading(file, *args, **options)

    monkeypatch.setattr(images.Image, "open", failing)
    code = main(["restore", str(first), str(second), f"output={tmp_path / 'o'}", "upscale=1", "cards=0"])
    assert code == UnexpectedError.exit_code
    captured = capsys.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith(f"error: {first}: unexpected BufferError (two lines) in media/images.py:")
    assert "please report this line" in line
    assert captured.out.count("1 face: 1 restored") == 1


LONG = ["L" * 251, "中" * 83, "🙂" * 62, "é" * 125, "ก" * 83]


@pytest.mark.parametrize("stem", LONG, ids=[name[0] for name in LONG])
def test_a_name_as_long_as_the_file_system_takes_is_restored(stem, portrait_file, tmp_path, capsys):
    source, other = portrait_file(f"in/{stem}.png"), portrait_file("in/b.png")
    assert main(["restore", str(source), str(other), f"output={tmp_path / 'o'}", "upscale=1"]) == 0
    written = sorted(p.name for p in (tmp_path / "o" / stem).iterdir())
    assert len(written) == 4
    assert source.name in written
    assert all(len(name.encode()) <= 255 for name in written)
    out = capsys.readouterr().out
    assert "the name is too long for the files beside the result" in out
    assert out.count("1 face: 1 restored") == 2


@pytest.mark.parametrize("name", ["...png", "..png", "....png"])
def test_a_name_of_dots_stays_inside_the_output_folder(name, portrait_file, tmp_path):
    source = portrait_file("in/a.png").rename(tmp_path / "in" / name)
    output = tmp_path / "deep" / "o"
    assert main(["restore", str(source), f"output={output}", "upscale=1", "cards=0"]) == 0
    assert list((tmp_path / "deep").iterdir()) == [output]
    assert (output / name / name).is_file()


def test_a_link_that_leads_out_of_the_output_folder_is_refused(portrait_file, tmp_path, capsys):
    source, other = portrait_file("in/a.png"), portrait_file("in/b.png")
    (tmp_path / "o").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "o" / "a").symlink_to(tmp_path / "elsewhere")
    words = ["restore", str(source), str(other), f"output={tmp_path / 'o'}", "upscale=1", "cards=0"]
    assert main(words) == OutputError.exit_code
    assert "leads out of the output folder" in capsys.readouterr().err
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert (tmp_path / "o" / "b" / "b.png").is_file()


def test_a_name_that_is_no_utf8_is_shown_as_escapes(portrait_file, tmp_path, capsys):
    plain = portrait_file("in/plain.png")
    strange = plain.with_name("a\udcff.png")
    try:
        plain.rename(strange)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only UTF-8 names")
    assert main(["restore", str(strange), f"output={tmp_path / 'o'}", "upscale=1", "cards=0"]) == 0
    assert "a\\udcff.png" in capsys.readouterr().out
