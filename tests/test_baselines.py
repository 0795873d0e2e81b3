"""Shallow methods: they find what can be found without reading, and nothing where there is nothing to find."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest

from xstilts import catalog, embedded
from xstilts.analysis import baselines, generated, overlap, shallow
from xstilts.analysis.estimates import BASELINE
from xstilts.data.gold import write_gold
from xstilts.files import write_jsonl
from xstilts.identity import ROOT

WORDS = {
    "nouns": "cat dog cow duck horse lamp chair river garden house book letter apple flower guitar cake",
    "german": "Katze Hund Kuh Ente Pferd Lampe Stuhl Fluss Garten Haus Buch Brief Apfel Blume Gitarre Kuchen",
    "names": "Anna Boris Clara David Emma Felix Greta Hugo Irina Jonas Karla Leo Maria Nina Otto Paula",
    "loans": "hotel museum piano radio taxi tunnel",
}
NOUNS, GERMAN, NAMES, LOANS = (line.split() for line in WORDS.values())
NOT = {"en": "not", "de": "keine", "es": "nunca", "ru": "нет", "ar": "ليس", "hi": "नहीं", "zh": "不", "sw": "halali"}
TWO_THREE = {"en": "two three", "de": "zwei drei", "es": "dos tres", "ru": "двух трёх", "ar": "اثنان ثلاثة",
             "hi": "दो तीन", "zh": "两 三", "sw": "wawili watatu"}  # fmt: skip


def pair_rows(size, make, labels=("0", "1"), seed=0):
    """Balanced rows whose texts `make(rng, label)` writes."""
    rng = random.Random(seed)
    rows = []
    for number in range(size):
        label = labels[number % len(labels)]
        a, b = make(rng, label)
        rows.append({"id": str(number), "text_a": a, "text_b": b, "label": label})
    rng.shuffle(rows)
    return rows


def words(rng, size=5, among=NOUNS):
    return " ".join(rng.sample(among, size))


def planted_word(rng, label):
    """text_b alone gives the label away in 9 of 10 rows."""
    honest = rng.random() < 0.9
    return words(rng), f"{words(rng, 4)} {'outside' if (label == '1') == honest else 'inside'}"


def planted_overlap(rng, label, among=NOUNS):
    """The label says whether text_b repeats words of text_a."""
    drawn = rng.sample(among, 10)
    return " ".join(drawn[:5]), " ".join(drawn[2:7] if label == "1" else drawn[5:])


def test_a_giveaway_in_the_second_text_is_found_by_hypothesis_only():
    found = shallow.artefacts(pair_rows(600, planted_word), pair_rows(200, planted_word, seed=1))
    assert set(found) == set(shallow.PAIR_METHODS)
    assert found["hypothesis_only"] > 80 and found["bag_of_words"] > 80
    assert abs(found["overlap_trees"] - 50) < 12 and abs(found["overlap_negation_trees"] - 50) < 12


def test_a_balanced_set_gives_chance():
    def nothing(rng, label):
        return words(rng), words(rng)

    for labels in (("0", "1"), ("entailment", "neutral", "contradiction")):
        train, test = (pair_rows(n, nothing, labels, seed) for n, seed in ((900, 0), (600, 1)))
        for name, accuracy in shallow.artefacts(train, test).items():
            assert abs(accuracy - 100 / len(labels)) < 8, name


def test_overlap_transfers_to_another_language_and_words_do_not():
    train = pair_rows(600, planted_overlap)
    german = pair_rows(200, lambda rng, label: planted_overlap(rng, label, GERMAN), seed=1)
    methods = shallow.pairs(train)
    accuracy = {
        name: np.mean([label == row["label"] for label, row in zip(predict(german, "de"), german, strict=True)])
        for name, predict in methods.items()
    }
    assert accuracy["overlap_trees"] == accuracy["overlap_negation_trees"] == 1
    assert abs(accuracy["hypothesis_only"] - 0.5) < 0.1


@pytest.mark.parametrize("language", NOT)
def test_a_negation_in_one_text_is_seen_in_every_language_of_the_table(language):
    def planted(rng, label, language="en"):
        signs = [rng.choice(["so", NOT[language]])]
        signs.append(signs[0] if label == "0" else NOT[language] if signs[0] == "so" else "so")
        drawn = [rng.sample(NOUNS, 4) for _ in signs]
        return tuple(" ".join([*noun, sign]) for noun, sign in zip(drawn, signs, strict=True))

    train, test = pair_rows(400, planted), pair_rows(100, lambda rng, label: planted(rng, label, language), seed=1)
    methods = shallow.pairs(train)
    right = {
        name: sum(label == row["label"] for label, row in zip(methods[name](test, language), test, strict=True))
        for name in ("overlap_trees", "overlap_negation_trees")
    }
    assert right["overlap_negation_trees"] == 100 and right["overlap_trees"] < 75


def test_features_of_a_pair():
    both, one = "The dog does not sleep.", "The dog sleeps"
    assert shallow.overlap_features(both, one, "en") == [2 / 3, 2 / 5, 2 / 6, 2, 3 / 5, 1, 0, 1, 0]
    assert shallow.overlap_features(both, one, "xx")[5:] == [0, 0, 0, 0]
    assert shallow.overlap_features("It isn't so", "never", "en")[5:8] == [1, 1, 0]
    assert shallow.overlap_features("2 dogs", "two dogs", "en")[8] == 0
    assert shallow.overlap_features("2 dogs", "3 dogs", "xx")[8] == 1
    assert shallow.overlap_features("", "", "en") == [0] * 9
    for language, pair in TWO_THREE.items():
        two, three = pair.split()
        assert [shallow.overlap_features(two, other, language)[8] for other in (two, three)] == [0, 1], language
    assert shallow.overlap_features("habari", "hatari", "sw")[5:7] == [0, 0]


def test_training_is_capped_and_needs_no_second_label():
    rows = pair_rows(shallow.ROWS + 50, planted_word)
    assert len(shallow.sample(rows)) == shallow.ROWS and shallow.sample(rows) == shallow.sample(rows)
    assert shallow.sample(rows[:7]) == rows[:7]
    same = [{**row, "label": "1"} for row in rows[:10]]
    assert set(shallow.artefacts(same, same).values()) == {100.0}
    assert shallow.pairs([]) == {} == shallow.choices([])
    with pytest.raises(ValueError, match="at least one row"):
        shallow.artefacts([], same)


def test_results_do_not_depend_on_the_hash_seed():
    code = (
        "import json, sys; sys.path.insert(0, 'tests'); import test_baselines as t\n"
        "rows = [t.pair_rows(n, t.planted_word, seed=n) for n in (300, 100)]\n"
        "methods = t.shallow.pairs(rows[0])\n"
        "print(json.dumps({name: predict(rows[1], 'en') for name, predict in methods.items()}))\n"
        "assert 'torch' not in sys.modules"
    )
    found = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                       env={**os.environ, "PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert found[0] == found[1] and set(json.loads(found[0])) == set(shallow.PAIR_METHODS)


def choice_rows(size, seed=0):
    """The right choice says "happily" in 9 of 10 rows; a wrong one repeats the context."""
    rng, rows = random.Random(seed), []
    for number in range(size):
        context, label = words(rng), number % 4
        choices = [f"{words(rng, 2)} slowly" for _ in range(4)]
        if rng.random() < 0.9:
            choices[label] = f"{words(rng, 2)} happily"
        choices[(label + 1) % 4] = context
        rows.append({"id": str(number), "context": context, "question": "", "choices": choices, "label": label})
    return rows


def test_choices_by_their_own_words_and_by_those_of_the_context():
    test = choice_rows(100, seed=1)
    gold = [row["label"] for row in test]
    found = shallow.choices(choice_rows(300))["choice_only"](test, "en")
    assert sum(a == b for a, b in zip(found, gold, strict=True)) > 80
    assert shallow.choice_overlap(test, "en") == [(label + 1) % 4 for label in gold]


# ---- retrieval


def retrieval_rows(texts):
    """Both sides of (source, target) texts; targets in the order of the sources."""
    rows = [
        {"id": f"{side}-{n}", "side": side, "text": text, "match": f"{other}-{n}"}
        for place, (side, other) in enumerate((("source", "target"), ("target", "source")))
        for n, text in enumerate(pair[place] for pair in texts)
    ]
    return rows


def accuracy(rows, anchors):
    found = overlap.nearest(rows, anchors)
    return sum(index == number for number, index in enumerate(found)) / len(found)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("heute schläft {name} dort", "today {name} sleeps there"),  # inside the sentence
        ("{name} schläft dort", "{name} sleeps there"),  # nowhere but at its beginning
        ("今天{name}在那里睡觉", "today {name} sleeps there"),  # a script without case
        ("da steht {number}", "it says {number} there"),
    ],
)
def test_anchor_free_overlap_drops_names_and_digits(source, target):
    names = [{"name": name, "number": 1900 + index} for index, name in enumerate(NAMES)]
    rows = retrieval_rows([(source.format(**one), target.format(**one)) for one in names])
    assert accuracy(rows, anchors=True) == 1
    assert accuracy(rows, anchors=False) == 1 / len(NAMES)  # no word is left in common: always the first
    assert overlap.mine(rows, rows, anchors=False) == [] != overlap.mine(rows, rows)


def test_anchor_free_overlap_keeps_loans():
    rows = retrieval_rows([(f"es ist ein {word} und Anna", f"this Anna has a {word}") for word in LOANS])
    assert accuracy(rows, anchors=False) == 1
    assert overlap.anchors_of(rows) == {"source": {"anna"}, "target": {"anna"}}


def test_a_capital_after_a_full_stop_makes_no_name():
    rows = retrieval_rows([("Er kam. Dann ging Otto.", "He came. Then Otto left.")])
    assert overlap.anchors_of(rows) == {"source": {"otto"}, "target": {"otto"}}


# ---- baselines.csv
TARGETS = {"xnli": ["en", "de"], "pawsx": ["en", "de"], "xquad": ["en", "de"], "tatoeba": ["de"]}
INTERMEDIATES = ["mnli", "hellaswag", "ccg", "squad_v2", "squad"]
CONTEXT = "Anna lives in Paris. Otto sleeps in Rome today."


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(spec, results) of made-up data: labels of pairs can be told from the second text."""
    results = tmp_path_factory.mktemp("baselines")
    tasks = {name: entry.identity for name, entry in catalog.load().tasks.items()}
    spec = {
        "targets": {name: {**tasks[name], "languages": codes} for name, codes in TARGETS.items()},
        "intermediates": {"none": [], "mix": INTERMEDIATES, "ccg": ["ccg"]},
        "sources": {name: "embedded" for name in [*TARGETS, *INTERMEDIATES]},
        "generators": {name: [name] for name in [*TARGETS, *INTERMEDIATES]},
        "data": {"seed": 7},
        "catalog": tasks,
    }
    for name in [*INTERMEDIATES, "pawsx"]:
        for split, size in (("train", 200), ("dev", 40)):
            rows = made_up(name, tasks[name], size, split, "en", split)
            write_jsonl(results / "examples" / name / "en" / f"{split}.jsonl", rows)
    for name, codes in TARGETS.items():
        for code in codes:
            rows = made_up(name, tasks[name], 40, code, code, "test")
            write_jsonl(results / "examples" / name / code / "test.jsonl", rows)
            write_gold(results / "gold", name, tasks[name]["kind"], tasks[name]["options"], code, rows)
    return spec, results


def made_up(name, identity, size, seed, language, split):
    kind = identity["kind"]
    if kind == "span_qa":
        return embedded.generate(name, language, split, size, 7)
    if kind == "pair":
        labels = identity["labels"]
        return pair_rows(
            size, lambda rng, label: (words(rng), f"{words(rng, 3)} mark{labels.index(label)}"), labels, seed
        )
    if kind == "choice":
        return choice_rows(size, seed)
    if kind == "tagging":
        return [{"id": str(n), "tokens": ["the", "cat", "new"], "tags": ["NP/N", "N", "N"]} for n in range(size)]
    if kind == "retrieval":
        return retrieval_rows([(f"Da ist {name}.", f"There is {name}.") for name in NAMES])
    raise AssertionError(kind)


def table(spec, results):
    found = baselines.compute(spec, results)
    rows = baselines.rows(found, spec)
    return found, {(row["target"], row["language"], row["baseline"], row["metric"]): row["value"] for row in rows}


@pytest.fixture(scope="module")
def computed(study):
    return table(*study)


PAIRS = {"majority", *shallow.PAIR_METHODS}
SPANS = {"random_span", "random_candidate", "sliding_window"}


def test_every_task_has_its_methods_in_every_language(computed):
    names = {}
    for task, language, name, _ in computed[1]:
        names.setdefault((task, language), set()).add(name)
    means = {(target, mean) for target in TARGETS for mean in ("mean", "mean_non_en")}
    tests = {(target, code) for target, codes in TARGETS.items() for code in codes}
    assert set(names) == means | tests | {(task, "en") for task in INTERMEDIATES}
    for code in ("en", "de", "mean"):
        assert names["xnli", code] == names["pawsx", code] == PAIRS == names["mnli", "en"]
        assert names["xquad", code] == SPANS == names["squad", "en"]
    assert names["squad_v2", "en"] == SPANS | {"no_answer"}
    assert names["hellaswag", "en"] == {"majority", "choice_only", "choice_overlap"}
    assert names["ccg", "en"] == {"word_tag"}
    assert names["tatoeba", "de"] == {"word_overlap", "anchor_free_overlap"}


def test_values_of_planted_data(computed):
    found, values = computed
    assert (
        values["xnli", "de", "hypothesis_only", "accuracy"] == 100 == values["mnli", "en", "bag_of_words", "accuracy"]
    )
    assert 30 <= values["xnli", "mean", "majority", "accuracy"] <= 36
    for language in ("en", "de"):  # one in 3 to 6 sentences is right
        assert 15 <= values["xquad", language, "random_candidate", "exact_match"] <= 60
        assert values["xquad", language, "random_candidate", "f1"] > values["xquad", language, "random_span", "f1"]
    assert 25 <= values["squad_v2", "en", "no_answer", "f1"] <= 40
    assert values["ccg", "en", "word_tag", "f1"] == 100 and values["tatoeba", "de", "word_overlap", "accuracy"] == 100
    assert values["tatoeba", "de", "anchor_free_overlap", "accuracy"] < 10
    assert len(found[BASELINE, "choice_only", 0, "hellaswag", "en"]["accuracy"]) == 40


def test_targets_are_compared_with_their_strongest_whole_baseline(study, computed):
    named = baselines.named(computed[0], study[0])
    assert set(named) == set(TARGETS)
    assert named["tatoeba"] == "word_overlap" and named["xquad"] == "random_candidate"
    part = {key: value for key, value in computed[0].items() if key[1:] != ("random_candidate", 0, "xquad", "de")}
    assert baselines.named(part, study[0])["xquad"] in ("random_span", "sliding_window")


def test_only_generated_data_have_candidates_and_only_what_is_there_has_rows(study):
    spec, results = study
    local = {"sources": {name: "local" for name in spec["sources"]}, "generators": {}}
    _, values = table({**spec, **local, "intermediates": {"none": [], "squad": ["squad"]}}, results)
    assert {task for task, *_ in values} == {*TARGETS, "squad"}
    assert not {name for _, _, name, _ in values} & {"random_candidate", "word_tag", "choice_only"}


@pytest.mark.parametrize("generator", ["xquad", "mlqa", "tydiqa"])
@pytest.mark.parametrize("language", ["en", "zh", "ar"])
def test_candidates_are_of_the_asked_type_and_hold_the_answer(generator, language):
    spec = {"generators": {"own": [generator]}, "data": {"seed": 3}}
    rows = embedded.generate(generator, language, "test", 30, 3)
    for row, spans in zip(rows, generated.candidates(spec, "own", language, rows), strict=True):
        assert 1 < len(spans) <= 6 and len(set(spans)) == len(spans)
        answer = row["answers"][0]
        assert (answer["start"], answer["start"] + len(answer["text"])) in spans
    english = embedded.generate(generator, "en", "test", 30, 3)
    asked = {row["question"].split()[0] for row in english}
    assert asked == {"Who", "What", "Where", "When"}


def test_candidates_survive_sampling_and_several_parts_and_refuse_other_texts():
    spec = {"generators": {"both": ["xquad", "tydiqa"]}, "data": {"seed": 3}}
    rows = [
        {**row, "id": f"{name}/test:{row['id']}"}
        for name in ("xquad", "tydiqa")
        for row in embedded.generate(name, "de", "test", 12, 3)[5::3]
    ]
    assert all(generated.candidates(spec, "both", "de", rows))
    other = [{**row, "context": row["context"] + " Ja."} for row in rows]
    assert not any(generated.candidates(spec, "both", "de", other))
    assert not any(generated.candidates(spec, "both", "de", [{**row, "id": "q1"} for row in rows]))
    assert not any(generated.candidates({**spec, "generators": {}}, "both", "de", rows))


def test_a_task_that_is_also_a_target_has_its_test_rows_alone(study):
    spec, results = study
    spec = {**spec, "intermediates": {"pawsx": ["pawsx"], "none": []}}
    found, _ = table(spec, results)
    assert {len(arrays["accuracy"]) for key, arrays in found.items() if key[3] == "pawsx"} == {40}


def test_a_random_candidate_is_one_of_the_candidates():
    places = [(0, 4), (14, 19)]
    drawn = {overlap.random_candidate(str(n), CONTEXT, places) for n in range(30)}
    assert drawn == {"Anna", "Paris"} and overlap.random_candidate("q", CONTEXT, []) == ""
    assert overlap.random_candidate("q", CONTEXT, places) == overlap.random_candidate("q", CONTEXT, places)
