"""Each search against what can be computed by hand or by trying everything."""

from itertools import combinations, product
from random import Random

import pytest
from scipy.optimize import differential_evolution

from xstilts.attacks.search import SEARCHES, Probe, Task
from xstilts.attacks.search.differential import hypercube, mutants
from xstilts.attacks.segmentation import Word
from xstilts.attacks.units import Unit

CLEAN = {"score": 1.0, "loss": 0.1}
# loss that each text adds; unit 1 matters most, unit 0 has two texts
GAINS = {(0, "a"): 0.1, (0, "A"): 0.2, (1, "b"): 0.05, (1, "B"): 0.3, (2, "c"): 0.15, (3, "d"): -0.1}
CANDIDATES = {0: ["a", "A"], 1: ["b", "B"], 2: ["c"], 3: ["d"]}
WORTH = {0: 0.2, 1: 0.4, 2: 0.3, 3: 0.0}  # loss added when the unit is hidden


def unit(start, end=None, token=None):
    return Unit("text", token, Word(start, start + 2 if end is None else end, ("x", "x"), "Latn"))


def result(changes, limit=0.5):
    """Additive loss; right until the loss passes `limit`."""
    if isinstance(changes, Probe):
        return {"score": 0.0, "loss": CLEAN["loss"] + sum(WORTH[unit] for unit in changes)}
    loss = round(CLEAN["loss"] + sum(GAINS[item] for item in changes.items()), 6)
    return {"score": float(loss <= limit), "loss": loss}


def task(name, most=4, candidates=CANDIDATES, units=None, seed=0, budget=None, **options):
    return Task(
        candidates=candidates,
        clean=CLEAN,
        won=lambda found: found["score"] < 1,
        most=most,
        budget={"queries": None} | (budget or {}),
        options={"name": name, **options},
        rng=Random(seed),
        units=units or [unit(3 * i) for i in range(4)],
    )


def run(one, answer=result):
    """(what the search settles on, rounds of what it asked)."""
    search, rounds = SEARCHES[one.options["name"]](one), []
    try:
        asked = next(search)
        while True:
            rounds.append([type(changes)(changes) for changes in asked])
            asked = search.send([answer(changes) for changes in asked])
    except StopIteration as end:
        return end.value, rounds


def never(changes):
    return result(changes, limit=9)


@pytest.mark.parametrize("by", ["unk", "mask", "delete"])
def test_ranked_hides_each_unit_once_then_takes_the_best_of_each_from_the_top(by):
    (changes, found), rounds = run(task("ranked", by=by), never)
    text = {"unk": "[UNK]", "mask": "<mask>", "delete": ""}[by]
    assert rounds[0] == [{0: text}, {1: text}, {2: text}, {3: text}]
    assert all(isinstance(one, Probe) for one in rounds[0]) and not any(isinstance(one, Probe) for one in rounds[1])
    assert rounds[1:] == [
        [{1: "b"}, {1: "B"}],
        [{1: "B", 2: "c"}],
        [{1: "B", 2: "c", 0: "a"}, {1: "B", 2: "c", 0: "A"}],
        [{1: "B", 2: "c", 0: "A", 3: "d"}],  # lowers the loss: not kept
    ]
    assert changes == {1: "B", 2: "c", 0: "A"} and found["loss"] == pytest.approx(0.75)


def test_ranked_never_takes_a_hidden_unit_for_a_success_and_ends_with_the_first_winner():
    (changes, found), rounds = run(task("ranked", by="unk", unk="oov"))
    assert rounds[0][1] == {1: "oov"} and len(rounds) == 3
    assert changes == {1: "B", 2: "c"} and found == {"score": 0.0, "loss": 0.55}
    (changes, _), rounds = run(task("ranked", most=1, by="unk"))
    assert changes == {1: "B"} and len(rounds) == 2


def test_ranked_takes_a_winner_before_a_candidate_of_higher_loss():
    def answer(changes):
        return {"score": float(changes != {1: "b"}), "loss": result(changes)["loss"]}

    (changes, found), _ = run(task("ranked"), answer)
    assert changes == {1: "b"} and found["score"] == 0


def test_a_token_cannot_be_deleted_and_is_ranked_by_unk():
    units = [unit(0, token=i) for i in range(4)]
    _, rounds = run(task("ranked", by="delete", units=units), never)
    assert rounds[0] == [{i: "[UNK]"} for i in range(4)]


@pytest.mark.parametrize(("queries", "ranked"), [(200, 100), (7, 3), (1, 0)])
def test_ranking_leaves_half_of_the_queries_for_changes(queries, ranked):
    many = {number: ["a", "A"] for number in range(210)}
    units = [unit(3 * number) for number in many]

    def asked(seed):
        one = task("ranked", 300, many, units, seed, {"queries": queries})
        return run(one, lambda changes: {"score": 1.0, "loss": 0.1 + 0.001 * sum(changes)})

    (changes, _), rounds = asked(1)
    probes = [one for rounded in rounds for one in rounded if isinstance(one, Probe)]
    tried = [one for rounded in rounds for one in rounded if not isinstance(one, Probe)]
    assert len(probes) == ranked and len(tried) == queries - ranked and changes
    numbers = sorted((number for one in probes for number in one), reverse=True)
    # the ranked ones first, the highest loss before others; they were drawn, not taken from the beginning
    assert [max(one) for one in tried[:1]] == numbers[:1] or not ranked
    assert numbers != list(range(ranked))[::-1] or not ranked
    assert asked(1) == asked(1) and asked(2)[1][0] != rounds[0]


def test_greedy_trial_ranks_by_the_first_candidates():
    (changes, found), rounds = run(task("greedy_trial"), never)
    assert rounds == [
        [{0: "a"}, {1: "b"}, {2: "c"}, {3: "d"}],
        [{2: "c", 0: "a"}, {2: "c", 0: "A"}],  # unit 2 has no other candidate
        [{2: "c", 0: "A", 1: "b"}, {2: "c", 0: "A", 1: "B"}],
        [{2: "c", 0: "A", 1: "B", 3: "d"}],
    ]
    assert changes == {2: "c", 0: "A", 1: "B"} and found["loss"] == pytest.approx(0.75)


def best_by_force(most, limit=9):
    """The highest loss that any changes of at most `most` units reach."""
    texts = [
        dict(zip(chosen, picked, strict=True))
        for number in range(1, most + 1)
        for chosen in combinations(CANDIDATES, number)
        for picked in product(*(CANDIDATES[unit] for unit in chosen))
    ]
    return max((result(changes, limit) for changes in texts), key=lambda one: one["loss"])


@pytest.mark.parametrize("name", ["greedy", "beam"])
@pytest.mark.parametrize("most", [1, 2, 3])
def test_greedy_and_beam_find_the_worst_text_of_all_where_losses_add_up(name, most):
    (changes, found), rounds = run(task(name, most=most, width=2), never)
    assert found == best_by_force(most) and len(changes) == most == len(rounds)
    assert sorted(map(str, rounds[0])) == sorted(str({u: t}) for u, texts in CANDIDATES.items() for t in texts)
    asked = [frozenset(changes.items()) for one in rounds for changes in one]
    assert len(asked) == len(set(asked))


def test_a_beam_finds_what_a_greedy_search_misses():
    """The best first change leads nowhere; the second best is half of a winner."""

    def answer(changes):
        pair = changes.get(0) == "a" and changes.get(2) == "c"
        return {
            "score": float(not pair),
            "loss": 0.9 if pair else 0.3 if 1 in changes else 0.2 if 0 in changes else 0.1,
        }

    assert run(task("greedy", most=2), answer)[0][1]["score"] == 1
    (changes, found), _ = run(task("beam", most=2, width=4), answer)
    assert found["score"] == 0 and changes == {0: "a", 2: "c"}
    # narrower than the place of the good half: missed again
    assert run(task("beam", most=2, width=2), answer)[0][1]["score"] == 1


def test_greedy_goes_on_through_a_step_that_lowers_the_loss_and_returns_the_worst_of_all():
    gains = {1: 0.3, 2: 0.2, 3: -0.1}

    def answer(changes):
        return {"score": 1.0, "loss": gains[len(changes)]}

    (changes, found), rounds = run(task("greedy", most=3), answer)
    assert len(rounds) == 3 and len(changes) == 1 and found["loss"] == 0.3


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_portions_save_queries_and_change_no_success(name):
    for limit in (0.15, 0.35, 0.5, 0.7, 0.74, 0.8):
        for seed in range(6):
            whole, parts = (
                run(task(name, width=2, seed=seed, budget={"at_once": size}), lambda one: result(one, limit))  # noqa: B023
                for size in (None, 2)
            )
            assert whole[0][1]["score"] == parts[0][1]["score"]
            assert max(map(len, parts[1])) == 2
            assert sum(map(len, parts[1])) <= sum(map(len, whole[1]))
    assert sum(map(len, parts[1])) == sum(map(len, whole[1]))  # nothing wins: everything is asked


def test_once_asks_one_text_and_keeps_it_whatever_comes():
    (changes, found), rounds = run(task("once"), never)
    assert rounds == [[{0: "a", 1: "b", 2: "c", 3: "d"}]] and changes == rounds[0][0]
    assert found["loss"] == pytest.approx(0.3)
    some = {tuple(run(task("once", most=2, seed=seed))[0][0]) for seed in range(40)}
    assert some == set(combinations(range(4), 2))


def test_evolution_finds_the_worst_text_of_all():
    hits = 0
    for seed in range(10):
        (changes, found), rounds = run(task("evolution", most=3, seed=seed, population=32, generations=10), never)
        assert len(rounds) <= 11 and sum(map(len, rounds)) <= 32 * 11
        asked = [tuple(changes.items()) for one in rounds for changes in one]
        assert len(asked) == len(set(asked)) and () not in asked
        hits += found == best_by_force(3)
        assert found["loss"] >= 0.65 and changes
    assert hits >= 7


def test_evolution_ends_with_the_first_generation_that_holds_a_winner():
    (changes, found), rounds = run(task("evolution", most=3), lambda one: result(one, 0.15))
    assert found["score"] == 0 and len(rounds) == 1 and changes
    (changes, found), _ = run(task("evolution", most=3), lambda one: {"score": 1.0, "loss": 0.0})
    assert (changes, found) == ({}, CLEAN)


def test_the_evolution_is_that_of_scipy_on_a_function_of_numbers():
    """Same strategy, population and defaults: the same progress on average (numbers are drawn otherwise)."""

    def height(point):
        return sum((value - 0.3) ** 2 for value in point) + 0.1 * sum(abs(value - 0.7) for value in point)

    def ours(seed):
        rng = Random(seed)
        members = hypercube(20, 4, rng)
        heights = list(map(height, members))
        for _ in range(12):
            trials = mutants(members, heights.index(min(heights)), rng)
            for one, trial in enumerate(trials):
                if height(trial) <= heights[one]:
                    members[one], heights[one] = trial, height(trial)
        return min(heights)

    def theirs(seed):
        found = differential_evolution(
            height, [(0, 1)] * 4, popsize=5, maxiter=12, tol=0, polish=False, updating="deferred", rng=seed
        )
        return found.fun

    mine, peers = (sum(method(seed) for seed in range(40)) / 40 for method in (ours, theirs))
    lowest = height([0.35] * 4)
    assert (mine - lowest) == pytest.approx(peers - lowest, rel=0.35)


def test_a_latin_hypercube_has_one_point_in_each_slice():
    points = hypercube(8, 3, Random(1))
    for column in zip(*points, strict=True):
        assert sorted(int(value * 8) for value in column) == list(range(8))


BUDGETS = [0, 1, 3, 4, 6, 9]


@pytest.mark.parametrize("name", sorted(SEARCHES))
@pytest.mark.parametrize("queries", BUDGETS)
def test_no_search_asks_more_than_its_budget_and_refusals_cost_nothing(name, queries):
    asked = []

    def answer(changes):
        if changes.get(1) == "B" or changes == {0: "a"}:
            return None
        asked.append(changes)
        return never(changes)

    (changes, found), _ = run(task(name, width=2, budget={"queries": queries}), answer)
    assert len(asked) <= queries and changes.get(1) != "B"
    assert found == (never(changes) if changes else CLEAN)


@pytest.mark.parametrize("name", ["greedy", "beam", "greedy_trial"])
@pytest.mark.parametrize("queries", [2, 3])
def test_what_is_refused_leaves_its_query_to_others(name, queries):
    asked = []

    def answer(changes):
        if 0 in changes or 1 in changes:
            return None
        asked.append(changes)
        return never(changes)

    run(task(name, width=2, budget={"queries": queries}), answer)
    assert len(asked) == queries and {unit for changes in asked for unit in changes} == {2, 3}


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_a_search_that_is_refused_everything_settles_on_the_clean_text(name):
    (changes, found), rounds = run(task(name, width=2), lambda one: never(one) if isinstance(one, Probe) else None)
    assert (changes, found) == ({}, CLEAN) and rounds


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_units_that_overlap_are_never_changed_together(name):
    # unit 1 lies across 0 and 2; 3 is a place to insert at the end of 2, which is none inside it
    units = [unit(0), unit(1, 5), unit(4), unit(6, 6)]
    for seed in range(5):
        (changes, _), rounds = run(task(name, most=4, width=2, units=units, seed=seed), never)
        for asked in [changes, *(one for rounded in rounds for one in rounded)]:
            assert not (1 in asked and {0, 2} & set(asked))
    one = task(name, units=units)
    assert one.clashes == {0: {1}, 1: {0, 2}, 2: {1}}
    assert one.apart({0: "a", 2: "c", 3: "d"}) and not one.apart({0: "a", 1: "b"})


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_equal_seeds_give_equal_searches(name):
    first, second = (run(task(name, most=2, width=2, seed=3, budget={"at_once": 2}), never) for _ in range(2))
    assert first == second
