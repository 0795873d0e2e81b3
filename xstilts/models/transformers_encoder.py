"""Encoders of other architectures (deberta-v2, modernbert ...) through transformers."""

from __future__ import annotations

from torch import nn

from xstilts.errors import UserError


def build(config: dict) -> nn.Module:
    """The transformers encoder of a config.json, uninitialised in the sense that weights are loaded over it.

    Called with input_ids and attention_mask it gives every hidden state; see `loading.TaskModel.hidden_states`.
    """
    from transformers import AutoConfig, AutoModel

    values = {key: value for key, value in config.items() if key != "model_type"}
    try:
        settings = AutoConfig.for_model(config["model_type"], **values, output_hidden_states=True)
        model = AutoModel.from_config(settings, trust_remote_code=False)
    except ValueError as error:
        raise UserError(
            f"config.json: model_type {config['model_type']}: not known to transformers: {error}"
        ) from error
    if getattr(model, "pooler", None) is not None:  # no checkpoint folder of ours stores one
        model.pooler = None
    return model.float()
