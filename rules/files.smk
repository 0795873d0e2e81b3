"""Which files a study consists of, as lists of paths that rules ask for."""


def test_files(targets):
    """Prepared test files (examples and gold) of some targets, in all the study's languages."""
    return [
        path
        for target in targets
        for path in fill(FILES.prepared_test(target)).values()
    ]


def train_files():
    """Prepared training and development examples of every task that is trained."""
    return [
        path
        for task in STUDY.trained_tasks()
        for path in fill(FILES.prepared_train(task)).values()
    ]


def prediction_files():
    """Predictions of every cell on its own targets."""
    return [
        path.format(study=STUDY.name, model=model, intermediate=intermediate, seed=seed)
        for (model, intermediate, seed), targets in STUDY.cells.items()
        for path in FILES.predictions(targets).values()
    ]


def checkpoint_files():
    """Every checkpoint of the study with its records: intermediate encoders, then target models."""
    encoders = [fill_cell(paths.ENCODER, ("", *one)) for one in STUDY.encoders]
    targets = [
        fill_cell(paths.TARGET, ("", *one), task)
        for one, served in STUDY.cells.items()
        for task in STUDY.training_tasks(served)
    ]
    return [path for group in encoders + targets for path in group]


def encoder_of(one):
    """The intermediate checkpoint of a cell; the plain model has none."""
    return [] if one[1] == studies.NONE else fill_cell(paths.ENCODER, ("", *one))


def target_checkpoints(one, targets):
    """The target models of a cell that serve some targets."""
    return [
        path
        for task in STUDY.training_tasks(targets)
        for path in fill_cell(paths.TARGET, ("", *one), task)
    ]


def stand_in_files(stand_ins):
    """Files of the models that an attack asks beside its victim, and of its masked language model's head."""
    models = [
        path
        for model in attack_needs.models(stand_ins)
        for path in fill(paths.MODEL, model=model).values()
    ]
    mlm = stand_ins.get("mlm")
    if not mlm:
        return models
    return models + encoder_of((mlm["model"], mlm["intermediate"], mlm["seed"]))


def attack_files():
    """Outcomes of every attack."""
    return [
        path
        for one in STUDY.attack_cells
        for path in fill(FILES.attack_files(one)).values()
    ]


def transfer_files():
    """Outcomes of every transfer."""
    return [
        path
        for one in STUDY.transfer_cells
        for path in fill(FILES.transfer_files(one)).values()
    ]


def analysis_files():
    """Everything that the tables are made of: examples, training records, predictions, attacks (timings lie beside)."""
    return [
        *prediction_files(),
        *test_files(STUDY.targets),
        *train_files(),
        *(path for path in checkpoint_files() if path.endswith("train.json")),
        *(
            fill(paths.LAYERS, model=model, intermediate=intermediate, seed=seed)
            for (model, intermediate, seed), targets in STUDY.cells.items()
            if set(targets) & set(STUDY.retrieval_targets)
        ),
        *attack_files(),
        *transfer_files(),
    ]


def data_files():
    """Models, training and test examples."""
    return [
        *(
            path
            for model in STUDY.models
            for path in fill(paths.MODEL, model=model).values()
        ),
        *train_files(),
        *test_files(STUDY.tests),
    ]
