"""A second, plain implementation of XTREME's scores, to compare `xstilts score` with. It imports nothing of xstilts.

Written from the published rules: SQuAD v1.1's and MLQA's normalisation, the chunk rule of seqeval 0.0.12 and the groups
and language orders of XTREME's `evaluate.py`. It stays pure Python and goes character by character and tag by tag, so
that it shares neither code nor method with what it checks. Operations on floats keep the order of the official
scripts: equal results are equal in every bit.
"""

import json
import os
import string
import unicodedata

ORDER = """
pawsx     de en es fr ja ko zh
xnli      ar bg de el en es fr hi ru sw th tr ur vi zh
panx      ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk \
tr et fi hu
udpos     af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh
bucc2018  de fr ru zh
tatoeba   ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu
xquad     en es de el ru tr ar vi th zh hi
mlqa      en es de ar hi vi zh
tydiqa    en ar bn fi id ko ru sw te
"""
ORDER = {line.split()[0]: line.split()[1:] for line in ORDER.strip().splitlines()}
QA = ("xquad", "mlqa", "tydiqa")
TAGGING = ("udpos", "panx")


# ---- files
def lines(path):
    """Lines without white space at the ends; a last line without a newline counts too."""
    with open(path, "rb") as handle:
        text = handle.read().decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    if text.endswith("\n"):
        text = text[:-1]
    elif text == "":
        return []
    return [line.strip() for line in text.split("\n")]


def names(folder):
    """Names of the files of a folder; none where there is no folder."""
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def sentences(path):
    """Every empty line closes a sentence; what is open at the end of the file is one more."""
    found, current = [], []
    for line in lines(path):
        if line == "":
            found.append(current)
            current = []
        else:
            current.append(line)
    if current:
        found.append(current)
    return found


def document(path):
    """A JSON file, or what it holds under "data"."""
    with open(path, "rb") as handle:
        content = json.loads(handle.read().decode("utf-8"))
    if isinstance(content, dict) and "data" in content:
        return content["data"]
    return content


# ---- answers
ARTICLES = {
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "vi": "của là cái chiếc những",
}


def without_words(text, words):
    """Every maximal run of letters and digits that is one of the words becomes a space."""
    result, run = "", ""
    for char in text + "\n":
        if char.isalnum() or char == "_":
            run += char
        else:
            result += (" " if run in words else run) + char
            run = ""
    return result[:-1]


def squad_words(text, language):
    """SQuAD v1.1: English rules whatever the language."""
    kept = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return without_words(kept, ["a", "an", "the"]).split()


def mlqa_words(text, language):
    """MLQA: punctuation of all scripts, articles of the language, Chinese characters one by one."""
    kept = ""
    for char in text.lower():
        if not (char in set(string.punctuation) or unicodedata.category(char).startswith("P")):
            kept += char
    if language == "ar":
        return " ".join(kept.split("ال")).split()
    if language in ARTICLES:
        return without_words(kept, ARTICLES[language].split()).split()
    if language == "hi":
        return kept.split()
    assert language == "zh"
    words, word = [], ""
    for char in kept:
        alone = 0x4E00 <= ord(char) <= 0x9FA5
        if (alone or char.isspace()) and word:
            words.append(word)
            word = ""
        if alone:
            words.append(char)
        elif not char.isspace():
            word += char
    return [*words, word] if word else words


def overlap(given, right):
    """F1 of two lists of words, each word used up once."""
    left, shared = list(right), 0
    for word in given:
        if word in left:
            left.remove(word)
            shared += 1
    if shared == 0:
        return 0.0
    precision, recall = shared / len(given), shared / len(right)
    return (2 * precision * recall) / (precision + recall)


def answer_scores(gold_path, given_path, language, words):
    """Exact match and F1 of one language, the best over the gold answers of a question."""
    given, hits, f1, n = document(given_path), 0, 0.0, 0
    for article in document(gold_path):
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                mine = words(given[question["id"]], language)
                best, hit = 0.0, False
                for answer in question["answers"]:
                    right = words(answer["text"], language)
                    hit = hit or " ".join(right) == " ".join(mine)
                    if overlap(mine, right) > best:
                        best = overlap(mine, right)
                n, hits, f1 = n + 1, hits + hit, f1 + best
    return {"exact_match": 100.0 * hits / n, "f1": 100.0 * f1 / n}


# ---- counts
def chunks(tagged):
    """seqeval 0.0.12: all sentences in one row with O after each; (type, first, last) of each chunk.

    Between two neighbours a chunk may end and one may start, by tables of first letters and by a change of type (what
    follows the last hyphen). A chunk reaches from the latest start to its end, wherever that start was.
    """
    row = [("O", "")]
    for tags in tagged:
        row += [(tag[0], tag.split("-")[-1]) for tag in tags] + [("O", "O")]
    row.append(("O", "O"))
    ends_between = ["BB", "BS", "BO", "IB", "IS", "IO"]
    starts_between = ["EE", "EI", "SE", "SI", "OE", "OI"]
    found, starts = set(), [0]
    for place in range(1, len(row)):
        (before, old), (after, new) = row[place - 1], row[place]
        ends = before in ["E", "S"] or before + after in ends_between
        if ends or (before not in ["O", "."] and old != new):
            found.add((old, starts[-1], place - 2))
        begins = after in ["B", "S"] or before + after in starts_between
        if begins or (after not in ["O", "."] and old != new):
            starts.append(place - 1)
    return found


def counted(right, given):
    """F1, precision and recall of two sets; nothing in common is 0 throughout."""
    common = len([one for one in given if one in right])
    if common == 0:
        return {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    precision, recall = common / len(given), common / len(right)
    f1 = 2 * precision * recall / (precision + recall)
    return {"f1": f1 * 100, "precision": precision * 100, "recall": recall * 100}


def pairs(path):
    """The different pairs of ids of a mining file."""
    return {tuple(line.split("\t")) for line in lines(path)}


def accuracy(right, given):
    """Share of equal lines."""
    assert len(right) == len(given)
    equal = 0
    for one, other in zip(right, given, strict=True):
        if one == other:
            equal += 1
    return {"accuracy": equal / len(given) * 100}


# ---- the whole
def language_scores(task, language, gold_path, given_path):
    """{metric: 0-100} of one file."""
    if task in QA:
        words = mlqa_words if task == "mlqa" else squad_words
        return answer_scores(gold_path, given_path, language, words)
    if task in TAGGING:
        return counted(chunks(sentences(gold_path)), chunks(sentences(given_path)))
    if task == "bucc2018":
        return counted(pairs(gold_path), pairs(given_path))
    return accuracy(lines(gold_path), lines(given_path))


def plain_mean(values):
    """Added from left to right."""
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def scores(given_folder, gold_folder):
    """Everything that the official evaluator returns, from the languages that both folders have."""
    result, tasks, whole = {}, {}, []
    for task, official in ORDER.items():
        table, languages = {}, []
        gold_task, given_task = os.path.join(gold_folder, task), os.path.join(given_folder, task)
        there = names(gold_task) & names(given_task)
        for language in official:
            name = f"test-{language}." + ("json" if task in QA else "tsv")
            if name in there:
                languages.append(language)
                gold_path, given_path = os.path.join(gold_task, name), os.path.join(given_task, name)
                for metric, value in language_scores(task, language, gold_path, given_path).items():
                    table.setdefault(metric, {})[language] = value
        if not languages:
            continue
        if languages == official:
            whole.append(task)
        for metric in list(table):
            table["avg_" + metric] = plain_mean(list(table[metric].values()))
        if task in QA:
            table["avg_metric"] = (table["avg_exact_match"] + table["avg_f1"]) / 2
        else:
            table["avg_metric"] = table["avg_accuracy" if "accuracy" in table else "avg_f1"]
        tasks[task] = table
    groups = {
        "all_task": list(ORDER),
        "classification": ["pawsx", "xnli"],
        "tagging": ["udpos", "panx"],
        "qa": ["xquad", "mlqa", "tydiqa"],
        "retrieval": ["bucc2018", "tatoeba"],
    }
    for group, members in groups.items():
        if all(task in whole for task in members):
            result[group] = plain_mean([tasks[task]["avg_metric"] for task in members])
    result.update(tasks)
    return result
