"""Where a training's numbers go, unless its config names a visualizer of its own."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.visualization import Visualizer


class NumbersOnly(Visualizer):
    """mmengine's visualizer without its drawing board, which nothing of a language model is drawn on and which would import
    matplotlib before the first step. The config is not written once more either: the runner has put it beside the outputs.
    """

    def _initialize_fig(self, fig_cfg: Any) -> tuple[None, _NoFigure, None]:
        return None, _NoFigure(), None

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Do nothing."""


class _NoFigure:
    """What mmengine asks of the drawing board before anything is drawn."""

    def get_dpi(self) -> float:
        return 0.0
