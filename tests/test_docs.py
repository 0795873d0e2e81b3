"""Code that the documentation tells readers to run."""

import json
import re

from xstilts.identity import ROOT


def test_the_recipe_for_xtremes_own_files_writes_the_local_layout(tmp_path):
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1), names)
    (tmp_path / "test-de.tsv").write_text("Im\tADP\nHaus\tNOUN\n\nJa\tINTJ\n", encoding="utf-8")
    (tmp_path / "pool").write_text("de-1\tEin Satz\tmit Tab.\nde-2\tNoch einer.\n", encoding="utf-8")
    (tmp_path / "gold").write_text("de-1\ten-7\n", encoding="utf-8")
    squad = {"id": "q", "question": "?", "answers": [{"text": "b", "answer_start": 2}]}
    (tmp_path / "qa").write_text(json.dumps({"data": [{"paragraphs": [{"context": "a b", "qas": [squad]}]}]}))
    made = {
        "udpos": names["tagged"](tmp_path / "test-de.tsv", "pos_tags"),
        "pool": names["pool"](tmp_path / "pool"),
        "pairs": names["pairs"](tmp_path / "gold"),
        "qa": names["questions"](tmp_path / "qa"),
    }
    rows = {}
    for name, found in made.items():
        names["write"](tmp_path / "out" / f"{name}.jsonl", found)
        rows[name] = [json.loads(line) for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()]
    assert rows["udpos"][0] == {"tokens": ["Im", "Haus"], "pos_tags": ["ADP", "NOUN"]} and len(rows["udpos"]) == 2
    assert rows["pool"][0] == {"id": "de-1", "sentence": "Ein Satz\tmit Tab."}
    assert rows["pairs"] == [{"source_id": "de-1", "target_id": "en-7"}]
    assert rows["qa"][0]["answers"] == {"text": ["b"], "answer_start": [2]}
