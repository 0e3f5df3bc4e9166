"""`likeness restore PATH... [key=value ...]`: restores photos, videos, GIFs and folders of them.

infer.py calls the same functions. Knows no Hydra and no Lightning.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from rich.console import Console

from likeness.errors import ConfigError, InputError, LikenessError, needs_extra
from likeness.media.folders import output_dirs, survey
from likeness.media.naming import fitted, require_inside
from likeness.pipeline.config import RestorerConfig, from_overrides
from likeness.pipeline.options import option_help
from likeness.pipeline.reference import figure
from likeness.pipeline.restorer import FileResult
from likeness.scale import runners

USAGE = """usage: likeness restore PATH... [output=DIR] [reference=FILE] [workers=N] [key=value ...]
       likeness serve [host=127.0.0.1] [port=7860] [key=value ...]
       likeness live source=ADDRESS sink=ADDRESS [key=value ...]
       likeness demo [output=DIR] [key=value ...]
       likeness gif | export | bench [key=value ...]      --help after one of them says more

Restores faces in photos, videos and GIFs (or folders of them) without changing the person.

  output=DIR                      results; each input gets DIR/<name>/ (default: outputs)
  reference=FILE                  the true picture or clip: PSNR, SSIM, LPIPS, GMSD and identity are reported
  workers=N                       files restored at once, each by a process with its own networks (default: 1)
  scale.scheduler=tcp://HOST:8786 restore on the workers of a Dask cluster, which see the same folders
  expert=, background=, detect=   short for expert.name=, background.name=, detect.name=
"""
COMMANDS = ("gif", "export", "bench")  # of `likeness.tasks`

VERBATIM = ("input", "output", "reference")
SHORT = {"expert": "expert.name", "background": "background.name", "detect": "detect.name"}
FILES = ("expert.file", "background.file", "detect.file")  # taken verbatim


@dataclass(frozen=True)
class Paths:
    """Paths exactly as they were typed; no parser sees them, so any file name works."""

    inputs: tuple[Path, ...] = ()
    output: Path = Path("outputs")
    reference: Path | None = None


def split_paths(arguments: Sequence[str]) -> tuple[Paths, list[str]]:
    """Takes `input=`, `output=` and `reference=` out of the arguments.

    Returns:
        The paths, and the other arguments in their order.

    Examples:
        >>> paths, options = split_paths(["input=a [1].jpg", "output=results", "upscale=2"])
        >>> str(paths.inputs[0]), str(paths.output), options
        ('a [1].jpg', 'results', ['upscale=2'])
    """
    taken: dict[str, list[str]] = {name: [] for name in VERBATIM}
    rest = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name in VERBATIM:
            if not value:
                raise ConfigError(f"{name}=: is empty, expected a path")
            taken[name].append(value)
        else:
            rest.append(argument)
    for name in ("output", "reference"):
        if len(taken[name]) > 1:
            raise ConfigError(f"{name}=: given {len(taken[name])} times, expected once")
    return (
        Paths(
            tuple(Path(p) for p in taken["input"]),
            Path(taken["output"][0]) if taken["output"] else Path("outputs"),
            Path(taken["reference"][0]) if taken["reference"] else None,
        ),
        rest,
    )


def spell_out(words: Sequence[str], quote: bool = False) -> list[str]:
    """Replaces the short forms, such as `expert=external`, by the options that they stand for.

    Args:
        words: `key=value`; what has no short form passes.
        quote: write a short form's value so that Hydra's parser gives it back as it was typed.

    Examples:
        >>> spell_out(["expert=external", "upscale=2"])
        ['expert.name=external', 'upscale=2']
    """
    return [_spelt(*word.partition("="), quote) for word in words]


def _spelt(key: str, equals: str, value: str, quote: bool) -> str:
    if key not in (*SHORT, *FILES) or not equals:
        return key + equals + value
    value = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + "\\${", value)  # else OmegaConf would look a name up
    if quote:
        # Hydra's grammar: backslashes are literal but before a quote (or the closing one), where they count double.
        value = "'" + re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value) + "'"
    return f"{SHORT.get(key, key)}={value}"


@dataclass(frozen=True)
class Jobs:
    """What is to be done.

    Attributes:
        folders: every file to restore, and the folder of its results.
        skipped: for a person, by folder that was searched: what else it holds.
        empty: an error for each folder without media.
    """

    folders: Mapping[Path, Path]
    skipped: Mapping[Path, str]
    empty: Sequence[InputError] = ()


def expand(inputs: Sequence[Path], output: Path) -> Jobs:
    """Finds every file to restore and its own folder; folders are searched and their tree is mirrored.

    Results of other runs below `output` are left out. Where two inputs would share a folder, the later one
    gets a number.

    Raises:
        InputError: if nothing holds media, or a folder is itself where the results shall go.
    """
    jobs: dict[Path, Path] = {}
    skipped, empty = {}, []
    single = [p for p in inputs if not os.path.isdir(p)]  # unlike Path.is_dir also where the name is too long
    jobs.update(output_dirs(single, output))
    for folder in (p for p in inputs if os.path.isdir(p)):
        if output.resolve() == folder.resolve():
            raise InputError(f"{folder}: is also the output, expected two folders; give another output=DIR")
        found = survey(folder, without=output)
        if not found.media:
            rest = f", only {found.skipped_text()}" if found.skipped else ""
            empty.append(InputError(f"{folder}: holds no photo, video or GIF{rest}; give a folder with media files"))
            continue
        jobs.update({f: d for f, d in output_dirs(found.media, output, folder).items() if f not in jobs})
        if found.skipped:
            skipped[folder] = found.skipped_text()
    if empty and not jobs:
        raise empty[0]
    return Jobs(_apart(jobs), skipped, empty)


def _apart(jobs: Mapping[Path, Path]) -> dict[Path, Path]:
    """The same jobs, no two of which share a folder; upper and lower case are not told apart."""
    taken: set[str] = set()
    result = {}
    for source, wanted in jobs.items():
        folder, number = wanted, 1
        while str(folder).casefold() in taken:
            number += 1
            folder = wanted.with_name(fitted(wanted.name, f"_{number}"))
        taken.add(str(folder).casefold())
        result[source] = folder
    return result


def restore_all(
    paths: Paths, config: RestorerConfig, console: Console | None = None, workers: int = 1, scheduler: str = ""
) -> int:
    """Restores every input. A bad file prints one line; the others still finish.

    Args:
        paths: inputs, output and reference.
        config: all options.
        console: for progress and errors; None: standard error.
        workers: processes; with 1, this one does the work.
        scheduler: address of a Dask cluster's scheduler, whose workers do the work instead.

    Returns:
        0, or the exit code of the first file that failed.
    """
    console = console or Console(stderr=True, highlight=False)
    if not paths.inputs:
        raise ConfigError("input: nothing given, expected a photo, video, GIF or folder")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # the line of a damaged file says enough
    jobs = expand(paths.inputs, paths.output)
    if paths.reference and len(jobs.folders) > 1:
        raise ConfigError(f"reference: one file for {len(jobs.folders)} inputs; restore that input alone")
    run = partial(runners.on_cluster, scheduler) if scheduler else runners.here if workers == 1 else runners.by_workers
    code, inside = 0, {}
    for error in jobs.empty:
        code = _fail(console, error, code)
    for source, folder in jobs.folders.items():
        try:
            require_inside(folder, paths.output)
            inside[source] = folder
        except LikenessError as error:
            code = _fail(console, error, code)
    for source, finish in run(inside, paths.reference, config, console, workers):
        try:
            result = finish()
        except LikenessError as error:
            code = _fail(console, error, code)
            continue
        _tell(source, result)
    for searched, skipped in jobs.skipped.items():
        print(_shown(f"{searched}: skipped {skipped}"))
    return code


def _fail(console: Console, error: LikenessError, code: int) -> int:
    """Prints the error; returns the first failure's exit code."""
    console.print(_shown(f"error: {error}"), markup=False, soft_wrap=True)
    return code or error.exit_code


def _tell(source: Path, result: FileResult) -> None:
    print(_shown(f"{source} -> {result.outputs['restored']} (upscale {result.report['upscale']})"))
    for note in result.report["notes"]:
        print(_shown(f"  {note}"))
    if reference := result.report.get("reference"):
        for role in ("input", "output"):
            figures = ", ".join(f"{name} {figure(value)}" for name, value in reference[role].items())
            print(f"  {role} against the reference: {figures}")
        for missing in reference["missing"]:
            print(f"  not measured: {missing}")
    print(f"  {result.summary}")


def _shown(text: str) -> str:
    """Text that any terminal takes: bytes of a file name that are not valid UTF-8 become escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def main(arguments: Sequence[str] | None = None) -> int:
    """The console command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        return _task(words[0], words[1:])
    if not words or words[0] == "help" or any(w in ("-h", "--help", "--help-all") for w in words):
        print(USAGE)
        print(option_help("--help-all" in words))
        return 0
    try:
        return _run(words[0], words[1:])
    except LikenessError as error:
        print(_shown(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; nothing half-written was left", file=sys.stderr)
        return 130


def _run(command: str, words: Sequence[str]) -> int:
    paths, rest = split_paths(words)
    if command == "demo":
        from likeness.tasks.demo import run_demo

        return run_demo(paths.output, from_overrides(spell_out(rest)))
    if command == "live":
        from likeness.tasks.live import run_live, take_addresses

        source, sink, options = take_addresses(words)
        return run_live(source, sink, from_overrides(spell_out(options)))
    if command == "serve":
        with needs_extra("web", "serve"):
            from likeness.web.serve import serve
        return serve(spell_out(words))
    if command != "restore":
        raise ConfigError(
            f"command: got {command!r}, expected restore, live, demo, serve, {', '.join(COMMANDS)}; see likeness --help"
        )
    # A word is an option when it looks like one and no such file exists; addresses may hold an equals sign as well.
    options = [w for w in rest if "=" in w and "://" not in w.partition("=")[0] and not os.path.exists(w)]
    inputs = tuple(Path(w) for w in rest if w not in options)
    everything = Paths(paths.inputs + inputs, paths.output, paths.reference)
    workers, options = take_workers(options)
    scheduler, options = take_scheduler(options)
    if scheduler and workers > 1:
        raise ConfigError(f"workers: got {workers} with scale.scheduler={scheduler}; leave one of them out")
    return restore_all(everything, from_overrides(spell_out(options)), workers=workers, scheduler=scheduler)


def take_workers(words: Sequence[str]) -> tuple[int, list[str]]:
    """Takes `workers=N` out of the options.

    Raises:
        ConfigError: if N is no number of 1 or more.
    """
    given = [w.partition("=")[2] for w in words if w.startswith("workers=")]
    rest = [w for w in words if not w.startswith("workers=")]
    if not given:
        return 1, rest
    if not given[-1].isdecimal() or int(given[-1]) < 1:
        raise ConfigError(f"workers: got {given[-1]!r}, expected 1 or more")
    return int(given[-1]), rest


def take_scheduler(words: Sequence[str]) -> tuple[str, list[str]]:
    """Takes `scale.scheduler=ADDRESS` out of the options; empty where it is not given."""
    given = [w.partition("=")[2] for w in words if w.startswith("scale.scheduler=")]
    return given[-1] if given else "", [w for w in words if not w.startswith("scale.scheduler=")]


def _task(name: str, words: Sequence[str]) -> int:
    code: int = import_module(f"likeness.tasks.{name}").main(words)
    return code


if __name__ == "__main__":
    sys.exit(main())
