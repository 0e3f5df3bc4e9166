"""Restores photos, videos and GIFs: `python infer.py input=PATH`; without input it runs the demo."""

from __future__ import annotations

import sys

try:
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import DictConfig

    from likeness.cli import restore_all, spell_out, split_paths
    from likeness.errors import LikenessError
    from likeness.pipeline.config import RestorerConfig, to_config
    from likeness.tasks.demo import run_demo
except ModuleNotFoundError as missing:
    sys.exit(f"error: infer.py needs {missing.name}; pip install 'likeness[eval]', or use `likeness restore PATH`")

ConfigStore.instance().store(name="restorer", node=RestorerConfig)


def main() -> int:
    """Takes the paths out of the command line, lets Hydra compose the rest, and restores."""
    try:
        paths, options = split_paths(sys.argv[1:])
        sys.argv[1:] = spell_out(options, quote=True)
    except LikenessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    code = 0

    @hydra.main(version_base="1.3", config_path="configs", config_name="infer")
    def run(cfg: DictConfig) -> None:
        nonlocal code
        try:
            config = to_config(cfg)
            if paths.inputs:
                code = restore_all(paths, config)
            else:
                print("no input= given: running the demo")
                code = run_demo(paths.output, config)
        except LikenessError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
        except KeyboardInterrupt:
            print("stopped; nothing half-written was left", file=sys.stderr)
            code = 130

    run()
    return code


if __name__ == "__main__":
    sys.exit(main())
