"""Write a checkpoint of this workflow as a complete, standard Hugging Face folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from xstilts.errors import UserError
from xstilts.files import replacing, write_json
from xstilts.models import checkpoints, trimming
from xstilts.models.loading import TaskModel, load

# model_type -> (prefix of the encoder's tensors, start of the class names)
FAMILIES = {
    "bert": ("bert.", "Bert"),
    "roberta": ("roberta.", "Roberta"),
    "xlm-roberta": ("roberta.", "XLMRoberta"),
    "xlm-roberta-xl": ("roberta.", "XLMRobertaXL"),
}
# kind -> (end of the class name, {our head tensor: Hugging Face's})
CLASSES = {
    "pair": ("ForSequenceClassification", {"dense": "classifier.dense", "out_proj": "classifier.out_proj"}),
    "tagging": ("ForTokenClassification", {"out_proj": "classifier"}),
    "span_qa": ("ForQuestionAnswering", {"out_proj": "qa_outputs"}),
}
# BERT keeps the dense layer of the sequence head in the encoder's pooler.
BERT_PAIR = {"dense": "bert.pooler.dense", "out_proj": "classifier"}


def export(checkpoint_dir: Path, base_dir: Path, out: Path) -> None:
    """Write config.json, model.safetensors, tokenizer.json and tokenizer_config.json into `out`.

    A checkpoint with a head becomes an AutoModelFor{SequenceClassification,TokenClassification,QuestionAnswering}
    with equal logits; one without (an intermediate checkpoint), or with that of masked text alone, becomes the plain
    encoder, an AutoModel.
    """
    model = load(base_dir, checkpoint_dir)
    family = FAMILIES.get(model.config["model_type"])
    if family is None:
        raise UserError(
            f"{base_dir}/config.json: model_type {model.config['model_type']}: export knows {', '.join(FAMILIES)}; "
            "for others load the checkpoint with xstilts.models.loading.load"
        )
    if len(model.heads) > 1:
        raise UserError(f"{checkpoint_dir}: has {len(model.heads)} heads, a Hugging Face folder holds one")
    trimming.densify(model)
    config = {**model.config, "torch_dtype": "float32", "dtype": "float32"}
    encoder = {name: tensor.float() for name, tensor in model.encoder.state_dict().items()}
    task = next(iter(model.heads), None)
    if task is None or model.head_settings[task]["kind"] not in CLASSES:
        tensors, config["architectures"] = encoder, [f"{family[1]}Model"]
    else:
        settings = model.head_settings[task]
        ending, names = CLASSES[settings["kind"]]
        if settings["kind"] == "pair" and family[1] == "Bert":
            names = BERT_PAIR
        tensors = {family[0] + name: tensor for name, tensor in encoder.items()}
        for name, tensor in model.heads[task].state_dict().items():
            layer, _, parameter = name.rpartition(".")
            tensors[f"{names[layer]}.{parameter}"] = tensor
        config["architectures"] = [family[1] + ending]
        labels = settings.get("labels") or ["start", "end"]
        config["id2label"] = {str(number): label for number, label in enumerate(labels)}
        config["label2id"] = {label: number for number, label in enumerate(labels)}
    checkpoints.write_tensors(out / "model.safetensors", tensors)
    write_json(out / "config.json", config)
    with replacing(out / "tokenizer.json") as part:
        shutil.copyfile(base_dir / "tokenizer.json", part)
    write_json(out / "tokenizer_config.json", _tokenizer_config(model))


def _tokenizer_config(model: TaskModel) -> dict:
    special = {"cls_token": "<s>", "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    special |= {"unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>"}
    if model.config["model_type"] == "bert" and model.tokenizer.token_to_id("[CLS]") is not None:
        special = {f"{name.lower()}_token": f"[{name}]" for name in ("CLS", "SEP", "UNK", "PAD", "MASK")}
    longest = getattr(model.encoder.embeddings, "longest", model.config["max_position_embeddings"] - 2)
    return {
        **special,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }
