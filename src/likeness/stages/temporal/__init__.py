"""Steadiness of clips.

Five things suppress flicker: `smoothing` of the landmarks' pose, the route's hysteresis (`stages/route.py`),
`blending` with the previous restored face, Expert-T's code smoothing (`nets/code_smoothing.py`), and verdicts of the
guard that are ramped over frames (`pipeline/steps.py`).
"""
