"""Reading parquet: class names for class numbers wherever the file declares them, and files that cannot be read."""

import json

import pyarrow
import pyarrow.parquet
import pytest
from published import LABELS, parquet

from xstilts.errors import UserError
from xstilts.hub import parquet as reader


def read(tmp_path, *contents):
    paths = []
    for number, content in enumerate(contents):
        paths.append(tmp_path / f"{number}.parquet")
        paths[-1].write_bytes(content)
    return list(reader.rows(paths))


def test_files_of_the_datasets_library_give_names_in_columns_lists_and_structs(tmp_path):
    import datasets

    names = datasets.ClassLabel(names=["O", "B-PER"])
    features = {
        "label": datasets.ClassLabel(names=["no", "yes"]),
        "tags": datasets.List(names),
        "pair": {"kind": names, "text": datasets.Value("string")},
        "listed": [{"kind": names}],
        "answers": datasets.Sequence({"kind": names, "start": datasets.Value("int32")}),
        "number": datasets.Value("int64"),
    }
    row = {
        "label": 1,
        "tags": [0, 1],
        "pair": {"kind": 1, "text": "t"},
        "listed": [{"kind": 0}, {"kind": 1}],
        "answers": {"kind": [1, 0], "start": [1, 0]},
        "number": 1,
    }
    table = datasets.Dataset.from_list([row], features=datasets.Features(features))
    table.to_parquet(str(tmp_path / "rows.parquet"))
    assert list(reader.rows([tmp_path / "rows.parquet"])) == [
        {
            "label": "yes",
            "tags": ["O", "B-PER"],
            "pair": {"kind": "B-PER", "text": "t"},
            "listed": [{"kind": "O"}, {"kind": "B-PER"}],
            "answers": {"kind": ["B-PER", "O"], "start": [1, 0]},
            "number": 1,
        }
    ]


def test_the_older_form_of_lists_is_named_too(tmp_path):
    features = {"tags": {"feature": LABELS, "length": -1, "_type": "Sequence"}, "other": [LABELS]}
    assert read(tmp_path, parquet([{"tags": [2, 0], "other": [1]}], features)) == [
        {"tags": ["contradiction", "entailment"], "other": ["neutral"]}
    ]


@pytest.mark.parametrize("value", [-1, 3, None, "entailment"])
def test_a_number_that_names_no_class_stays(tmp_path, value):
    assert read(tmp_path, parquet([{"label": value}], {"label": LABELS})) == [{"label": value}]


def test_files_of_other_origin_give_their_numbers(tmp_path):
    assert read(tmp_path, parquet([{"label": 1}])) == [{"label": 1}]


def test_files_are_read_one_after_the_other_and_in_more_than_one_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "BATCH", 7)
    parts = [[{"n": number} for number in range(low, low + 20)] for low in (0, 20)]
    assert [row["n"] for row in read(tmp_path, *map(parquet, parts))] == list(range(40))


@pytest.mark.parametrize("content", [b"", b"not parquet at all", b"PAR1" + b"\0" * 40 + b"PAR1"])
def test_what_is_no_parquet_is_named(tmp_path, content):
    with pytest.raises(UserError, match=r"0\.parquet: not a parquet file that can be read: .*xstilts pin"):
        read(tmp_path, content)


def test_a_file_broken_in_the_middle_is_named(tmp_path):
    content = parquet([{"text": f"{number} " * 50} for number in range(500)])
    broken = content[:200] + bytes(1000) + content[1200:]
    with pytest.raises(UserError, match=r"0\.parquet: not a parquet file that can be read"):
        read(tmp_path, broken)


@pytest.mark.parametrize("note", ["{", "[]", json.dumps({"info": {"features": {"label": {"_type": "List"}}}})])
def test_metadata_that_cannot_be_read_is_no_licence_to_guess_class_names(tmp_path, note):
    table = pyarrow.Table.from_pylist([{"label": 1}]).replace_schema_metadata({"huggingface": note})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(UserError, match=r"rows\.parquet: its metadata `huggingface` cannot be read"):
        list(reader.rows([tmp_path / "rows.parquet"]))
