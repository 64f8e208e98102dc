"""Records -> conversations -> token examples -> batches. What a command does not use is not imported: collating needs torch,
checking a file does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xagent.lazy import names_on_demand

if TYPE_CHECKING:
    from xagent.data.collate import default_collate_fn
    from xagent.data.dataset import choose_template, process_hf_dataset, template_map_fn_factory
    from xagent.data.mix import DataSource
    from xagent.data.self_cognition import self_cognition_map_fn_factory
    from xagent.data.shards import load_prepared_dataset
    from xagent.data.source import load_dataset_from
    from xagent.data.token_dataset import TokenDataset

__all__ = [
    "DataSource",
    "TokenDataset",
    "choose_template",
    "default_collate_fn",
    "load_dataset_from",
    "load_prepared_dataset",
    "process_hf_dataset",
    "self_cognition_map_fn_factory",
    "template_map_fn_factory",
]

__getattr__ = names_on_demand(
    __name__,
    {
        "DataSource": "mix",
        "TokenDataset": "token_dataset",
        "choose_template": "dataset",
        "default_collate_fn": "collate",
        "load_dataset_from": "source",
        "load_prepared_dataset": "shards",
        "process_hf_dataset": "dataset",
        "self_cognition_map_fn_factory": "self_cognition",
        "template_map_fn_factory": "dataset",
    },
)
