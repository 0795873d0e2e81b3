"""A model in a folder of the user's own: which files it is, and one clear error for each that is not right."""

import json
import os
import shutil

import pytest
import yaml
from test_workflow import copy_project

from xstilts import study as studies
from xstilts.errors import UserError
from xstilts.models import fetch, folder, local
from xstilts.specs import Specs

INDEX = "model.safetensors.index.json"
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny random model in one safetensors file."""
    out = tmp_path_factory.mktemp("model") / "whole"
    fetch.fetch({"model": "tiny", "source": {"type": "random", "config": {"hidden_size": 16}}}, out)
    (out / "model.json").unlink()
    return out


@pytest.fixture
def model(made, tmp_path):
    return shutil.copytree(made, tmp_path / "model")


@pytest.fixture
def sharded(model):
    """The same in two files and an index."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    weight_map = {}
    for number, file in enumerate(PARTS):
        held = {name: tensor for name, tensor in tensors.items() if sorted(tensors).index(name) % 2 == number}
        save_file(held, model / file, {"format": "pt"})
        weight_map |= dict.fromkeys(held, file)
    (model / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return model


def names(place):
    return [path.name for path in folder.files(place, "m.yaml")]


def refused(place, message):
    """Planning and the job both refuse the folder."""
    with pytest.raises(UserError, match=message):
        folder.files(place, "m.yaml")
    with pytest.raises(UserError, match=message):
        local.build({"folder": str(place)}, {}, place)


# ---- which files
def test_the_files_of_an_index_are_the_model(made, sharded):
    assert names(sharded) == ["config.json", *PARTS, INDEX, "tokenizer.json"]
    whole, parts = (local.build({"folder": str(place)}, {}, place)["weights"] for place in (made, sharded))
    assert whole.keys() == parts.keys() and all((whole[name] == parts[name]).all() for name in whole)


def test_a_file_of_the_index_that_is_missing_is_named_at_planning(sharded):
    (sharded / PARTS[1]).unlink()
    refused(sharded, rf"identity.source.folder: .*model: holds no {PARTS[1]}, named by its {INDEX}. Next: copy")
    (sharded / PARTS[0]).unlink()
    refused(sharded, rf"holds no {PARTS[0]}, {PARTS[1]}, named by")


def test_weights_beside_an_index_are_refused_in_a_users_folder_and_not_read_in_a_repository(made, sharded):
    """transformers would read model.safetensors: which one is the model cannot be guessed."""
    shutil.copy(made / "model.safetensors", sharded)
    refused(sharded, rf"model.safetensors: not among the files that {INDEX} names.*Next: move")
    assert local.read(sharded, sharded / "tokenizer.json")["weights"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", f"{INDEX}: not JSON"),
        ("[]", f"{INDEX} needs `weight_map`, an object of tensor"),
        ('{"weight_map": {}}', "needs `weight_map`"),
        ('{"weight_map": {"a": 1}}', "needs `weight_map`"),
        ('{"weight_map": {"a": "../model.safetensors"}}', "needs `weight_map`"),
        ('{"weight_map": {"a": "model.bin"}}', "needs `weight_map`"),
    ],
)
def test_a_broken_index_is_refused(sharded, text, message):
    (sharded / INDEX).write_text(text)
    refused(sharded, message)


def test_a_tensor_in_two_files_is_refused_with_both_names(model):
    shutil.copy(model / "model.safetensors", model / "old.safetensors")
    with pytest.raises(
        UserError, match=r"model/model.safetensors \(.*\) and .*model/old.safetensors .* both hold .*Next"
    ):
        local.build({"folder": str(model)}, {}, model)


def test_a_tensor_in_two_spellings_is_the_same_tensor(model):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    name = "embeddings.LayerNorm.weight"
    save_file({f"roberta.{name}": tensors[name] + 1}, model / "z.safetensors")
    with pytest.raises(
        UserError, match=rf"\({name}\) and .*z.safetensors \(roberta.{name}\) both hold the tensor {name}"
    ):
        local.build({"folder": str(model)}, {}, model)


def test_the_identity_is_of_the_files_that_are_read(sharded, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_known", {})
    root = copy_project(tmp_path / "project")
    entry = yaml.safe_load((root / "catalog/models/tiny.yaml").read_text())
    entry["identity"]["source"] = {"type": "local", "folder": str(sharded)}
    (root / "catalog/models/mine.yaml").write_text(yaml.safe_dump(entry))
    grid = [{"models": ["mine"], "intermediates": ["none"], "targets": ["xnli"], "seeds": [1]}]
    config = {"study": "mine", "sources": ["embedded"], "languages": ["en"], "grid": grid}
    config["training"] = {"preset": "demo"}

    def held():
        return Specs(studies.load(config, "mine.yaml", root)).model("mine")["source"]["files"]

    first = held()
    assert [*first] == names(sharded)
    (sharded / "README.md").write_text("about")
    assert held() == first
    (sharded / INDEX).write_text((sharded / INDEX).read_text() + "\n")
    assert {name for name, digest in held().items() if digest != first[name]} == {INDEX}


# ---- files that are not what their name says
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    ("put", "what"),
    [(lambda path: path.mkdir(), "a folder"), (lambda path: path.symlink_to("nowhere"), "a link to what is not there")],
)
def test_a_folder_or_a_dangling_link_by_the_name_of_a_file_is_said_at_planning(model, name, put, what):
    (model / name).unlink()
    put(model / name)
    refused(model, rf"identity.source.folder: .*model: {name} is {what}\. Next: write the folder with")


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1\n" * 3])
def test_a_foreign_weights_file_is_named(model, data):
    (model / "model.safetensors").write_bytes(data)
    with pytest.raises(
        UserError, match=r"model/model.safetensors: not a whole safetensors file: .+\. Next: copy the file"
    ):
        local.build({"folder": str(model)}, {}, model)


@pytest.mark.parametrize("size", [4, 100, -10])
def test_a_truncated_weights_file_is_named(model, size):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        UserError, match=r"model/model.safetensors: not a whole safetensors file: .+\. Next: copy the file"
    ):
        local.build({"folder": str(model)}, {}, model)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"version": "1.0", "model": {"type": "Nothing"}}'])
def test_a_broken_tokenizer_is_named(model, text):
    (model / "tokenizer.json").write_text(text)
    with pytest.raises(
        UserError, match=r"model/tokenizer.json: not a file of the `tokenizers` library: .+\. Next: copy"
    ):
        local.build({"folder": str(model)}, {}, model)


def test_a_configuration_that_is_no_object_is_named(model):
    (model / "config.json").write_text("[]")
    with pytest.raises(UserError, match=r"model/config.json: must be an object"):
        local.build({"folder": str(model)}, {}, model)


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(model):
    (model / "config.json").chmod(0)
    with pytest.raises(UserError, match=r"model/config.json: cannot be read: Permission denied. Next"):
        folder.digests(folder.files(model, "m.yaml"), model)


# ---- remembered digests
@pytest.mark.parametrize("kept", ["null", "5", "[1]", "{", "KEY: 5", "KEY: null", 'KEY: "abc"', 'KEY: ["a"]'])
def test_a_memory_of_digests_that_is_none_is_made_anew(model, tmp_path, monkeypatch, kept):
    memo = tmp_path / folder.MEMO
    monkeypatch.setattr(folder, "_known", {})
    first = folder.digests(folder.files(model, "m"), tmp_path)
    keys = json.loads(memo.read_text())
    if kept.startswith("KEY: "):
        kept = json.dumps(dict.fromkeys(keys, json.loads(kept.removeprefix("KEY: "))))
    memo.write_text(kept)
    monkeypatch.setattr(folder, "_known", {})
    assert folder.digests(folder.files(model, "m"), tmp_path) == first
    assert json.loads(memo.read_text()) == keys


# ---- the home folder of nobody
def test_a_home_folder_that_is_not_there_is_one_error_that_names_the_key(tmp_path):
    place = "~no_such_user_of_this_machine/x"
    with pytest.raises(
        UserError, match=rf"m.yaml: identity.source.folder: '{place}': this machine knows no home folder"
    ):
        folder.place({"folder": place}, tmp_path, "m.yaml")
    grid = [{"models": ["tiny"], "intermediates": ["none"], "targets": ["xnli"], "seeds": [1]}]
    config = {"study": "s", "sources": ["embedded"], "languages": ["en"], "grid": grid, "training": {"preset": "demo"}}
    for key, change in (("data_root", {"data_root": place}), ("licensed.ccgbank", {"licensed": {"ccgbank": place}})):
        with pytest.raises(
            UserError, match=rf"s.yaml: {key}: '{place}': this machine knows no home folder of ~no_such"
        ):
            studies.load({**config, **change}, "s.yaml")
