"""The table of int8 shows means, and paired differences from fp32."""

from __future__ import annotations

import numpy as np

from experiments.int8.int8 import FIGURES, table


def test_int8_stands_beside_fp32_and_as_its_difference() -> None:
    fp32 = np.tile(np.array([30.0, 0.2, 0.8, 1.0, 0.1]), (6, 1))
    values = {("expert_f", "fp32"): fp32, ("expert_f", "int8"): fp32 - [0.5, 0, 0.1, 1, 0.1]}
    lines = table(values, {("expert_f", "fp32"): 41.26})
    assert lines[0] == "| expert | precision | ms | PSNR | LPIPS | judge | specks | streaks |"
    cells = [[cell.strip().split(" [")[0] for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells == [
        ["expert_f", "fp32", "41.3", "30.00", "0.2000", "0.8000", "1.00", "0.1000"],
        ["expert_f", "int8", "", "29.50", "0.2000", "0.7000", "0.00", "0.0000"],
        ["expert_f", "int8 - fp32", "", "-0.50", "+0.0000", "-0.1000", "-1.00", "-0.1000"],
    ]
    assert list(FIGURES) == ["PSNR", "LPIPS", "judge", "specks", "streaks"]
