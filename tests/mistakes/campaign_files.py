"""Mistakes in a campaign's file, and in naming it."""

from __future__ import annotations

from tests.mistakes.mistake import CAMPAIGN, Mistake, in_file

ROWS = [
    # not TOML
    Mistake(
        id="malformed TOML",
        typed="launch mine.toml",
        files={"mine.toml": 'name = "mine\ntrials = 3\n'},
        says="mine.toml: is not valid TOML: Illegal character '\\n' (at line 1, column 13)",
    ),
    Mistake(
        id="malformed TOML at the end",
        typed="launch mine.toml",
        files={"mine.toml": f"{CAMPAIGN}seed ="},
        says="mine.toml: is not valid TOML: Invalid value (at line 5, column 7)",
    ),
    Mistake(
        id="a key twice",
        typed="launch mine.toml",
        files={"mine.toml": f"{CAMPAIGN}trials = 4\n"},
        says="mine.toml: is not valid TOML: Cannot overwrite a value (at line 5, column 11)",
    ),
    Mistake(
        id="a date that is none",
        typed="launch mine.toml",
        files={"mine.toml": f"{CAMPAIGN}seed = 2024-13-99\n"},
        says=(
            "mine.toml: is not valid TOML: Expected newline or end of document after a statement (at line 5, column 12)"
        ),
    ),
    Mistake(
        id="not UTF-8",
        typed="launch mine.toml",
        files={"mine.toml": CAMPAIGN.replace("mine", "größe").encode("latin1")},
        says="mine.toml: is not UTF-8 text (byte 10): save it as UTF-8",
    ),
    Mistake(
        id="nested without end",
        typed="launch mine.toml",
        files={"mine.toml": f"{CAMPAIGN}seed = {'[' * 3000}"},
        says="mine.toml: is not a campaign: its values are nested too deeply",
    ),
    Mistake(
        id="an empty file",
        typed="launch mine.toml",
        files={"mine.toml": ""},
        says="mine.toml: name is missing: it must be a name of 1 to 64 characters",
    ),
    Mistake(
        id="no such file",
        typed="launch mine.toml",
        says="mine.toml: cannot be read: No such file or directory",
    ),
    Mistake(
        id="a directory in place of the file",
        typed="launch mine.toml",
        files={"mine.toml/data": ""},
        says="mine.toml: cannot be read: Is a directory",
    ),
    Mistake(
        id="a file that may not be read",
        typed="launch mine.toml",
        files={"mine.toml": CAMPAIGN},
        prepare=lambda place: (place.here / "mine.toml").chmod(0),
        as_nobody=True,
        says="mine.toml: cannot be read: Permission denied",
    ),
    # keys
    in_file(
        "an unknown key",
        "seeds is not a key of a campaign: allowed are {keys}; did you mean seed?",
        seeds="4",
    ),
    in_file(
        "an unknown key like no other",
        "'a b' is not a key of a campaign: allowed are {keys}",
        **{'"a b"': "4"},
    ),
    in_file(
        "a key with a control character",
        "'a\\nb' is not a key of a campaign: allowed are {keys}",
        **{'"a\\nb"': "4"},
    ),
    in_file("a key that is filled in", "spaces is not a key of a campaign; did you mean search_space?", spaces="{}"),
    # names
    in_file(
        "a name with a slash",
        "name = 'a/b': must not contain '/' (nor any slash, colon, wildcard or control character)",
        name='"a/b"',
    ),
    in_file(
        "a name with a backslash",
        "name = 'a\\\\b': must not contain '\\\\' (nor any slash, colon, wildcard or control character)",
        name="'a\\b'",
    ),
    in_file(
        "a name with a control character",
        "name = 'a\\x1bb': must not contain '\\x1b' (nor any slash, colon, wildcard or control character)",
        name='"a\\u001bb"',
    ),
    in_file(
        "a name of two lines",
        "name = 'a\\nb': must not contain '\\n' (nor any slash, colon, wildcard or control character)",
        name='"a\\nb"',
    ),
    in_file("an empty name", "name = '': must be 1 to 64 characters, the first and last no space", name='""'),
    in_file(
        "a long name",
        (
            "name = 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…: must be 1 to 64 characters, "
            "the first and last no space"
        ),
        name=f'"{"n" * 65}"',
    ),
    in_file("a name that is a number", "name = 3: must be a name of 1 to 64 characters", name="3"),
    in_file(
        "a name like an option",
        'name = \'-x\': must neither start with "." or "-" nor end in ".toml": it would be taken for something else',
        name='"-x"',
    ),
    in_file(
        "an unknown optimizer",
        "optimizers = ['sgd', 'adma']: 'adma' is an unknown optimizer: known are {optimizers}; did you mean adam?",
        optimizers='["sgd", "adma"]',
    ),
    in_file(
        "an optimizer like no other",
        "optimizers = ['zzz']: 'zzz' is an unknown optimizer: known are {optimizers}; your own needs a table "
        "[optimizer.NAME], or --optimizer module:spec",
        optimizers='["zzz"]',
    ),
    in_file("an optimizer twice", "optimizers = ['sgd', 'sgd']: names 'sgd' twice", optimizers='["sgd", "sgd"]'),
    in_file("no optimizer", 'optimizers = []: must be a list of optimizers, such as ["sofim", "sgd"]', optimizers="[]"),
    in_file(
        "an optimizer that is no list",
        'optimizers = \'sgd\': must be a list of optimizers, such as ["sofim", "sgd"]',
        optimizers='"sgd"',
    ),
    in_file(
        "an unknown workload",
        "workloads = ['digit-mlp']: 'digit-mlp' is unknown: known are {workloads}, and package.module:factory for your "
        "own; did you mean digits-mlp?",
        workloads='["digit-mlp"]',
    ),
    in_file(
        "a workload that is a number",
        'workloads = 3: must be a list of workloads, such as ["digits-mlp"]',
        workloads="[3]",
    ),
    in_file(
        "an unknown sampler",
        "sampler = 'tpa': must be one of tpe, random, qmc, gp, cmaes; did you mean tpe?",
        sampler='"tpa"',
    ),
    in_file(
        "an unknown pruner",
        "pruner = 'hyperbrand': must be one of asha, hyperband, first-epoch, median, none; did you mean hyperband?",
        pruner='"hyperbrand"',
    ),
    in_file(
        "an unknown schedule",
        "schedule = 'cosin': must be one of constant, cosine, linear, constant+warmup, cosine+warmup; "
        "did you mean cosine?",
        schedule='"cosin"',
    ),
    in_file(
        "an unknown purpose",
        "purpose = 'sensitive': must be one of comparison, sensitivity; did you mean sensitivity?",
        purpose='"sensitive"',
    ),
    in_file("a purpose of another kind", "purpose = 1: must be one of comparison, sensitivity", purpose="1"),
    in_file("an unknown decay", "decay = 'L2': must be one of coupled, decoupled", decay='"L2"'),
    in_file("a decay of another kind", "decay = 0.1: must be one of coupled, decoupled", decay="0.1"),
    in_file("a batch of nothing", "batch_size = 0: must be a whole number from 1 to 1000000", batch_size="0"),
    in_file("a batch of a part", "batch_size = 64.0: must be a whole number from 1 to 1000000", batch_size="64.0"),
    in_file(
        "batch sizes",
        "batch_size = [32, 64]: must be a whole number from 1 to 1000000",
        batch_size="[32, 64]",
    ),
    in_file(
        "a batch size of all and of one",
        "search_space.sgd: batch_size = [16, 32]: the campaign has 64 for all; leave one of them out",
        batch_size="64\n[search_space.sgd]\nbatch_size = [16, 32]",
    ),
    in_file(
        "a warm-up without end",
        "warmup = 1: must be a share of all steps from 0 to below 1, or a range [low, high] of these to search",
        warmup="1",
    ),
    in_file(
        "a warm-up in words",
        "warmup = '5 %': must be a share of all steps from 0 to below 1, or a range [low, high] of these to search",
        warmup='"5 %"',
    ),
    in_file(
        "a range of warm-ups that is reversed",
        "warmup = [0.1, 0.0]: is no range of two different shares, the smaller first: must be a share of all steps "
        "from 0 to below 1, or a range [low, high] of these to search",
        warmup="[0.1, 0.0]",
    ),
    in_file(
        "a warm-up twice",
        "warmup = 0.1: schedule = 'cosine+warmup' has one of 0.05 in its name; leave one of them out, as with "
        "schedule = 'cosine'",
        warmup='0.1\nschedule = "cosine+warmup"',
    ),
    in_file(
        "a warm-up as a parameter of one optimizer",
        "search_space.sgd: schedule.warmup is no parameter of sgd: allowed are lr, momentum, nesterov, weight_decay, "
        "batch_size",
        warmup='[0.0, 0.1]\n[search_space.sgd]\n"schedule.warmup" = [0.0, 0.2]',
    ),
    # numbers
    in_file("no trials", "trials = 0: must be a whole number from 1 to 1000000", trials="0"),
    in_file("fewer trials than none", "trials = -5: must be a whole number from 1 to 1000000", trials="-5"),
    in_file("half a trial", "trials = 2.5: must be a whole number from 1 to 1000000", trials="2.5"),
    in_file("trials in words", "trials = 'ten': must be a whole number from 1 to 1000000", trials='"ten"'),
    in_file("trials that are true", "trials = true: must be a whole number from 1 to 1000000", trials="true"),
    in_file(
        "trials without end",
        (
            "trials = 999999999999999999999999999999999999999999999999999999999999…: must be a whole number "
            "from 1 to 1000000"
        ),
        trials="9" * 200,
    ),
    in_file(
        "trials of more digits than Python prints",
        "trials = an enormous integer: must be a whole number from 1 to 1000000",
        trials="0x" + "f" * 9000,
    ),
    in_file("infinitely many trials", "trials = inf: must be a whole number from 1 to 1000000", trials="inf"),
    in_file(
        "no epochs", "epochs = 0: must be a whole number from 1 to 1000000, or a table of these by workload", epochs="0"
    ),
    in_file(
        "epochs of a workload below none",
        "epochs = {'digits-mlp': -1}: must be a whole number from 1 to 1000000, or a table of these by workload",
        epochs="{ digits-mlp = -1 }",
    ),
    in_file(
        "epochs of an unknown workload",
        "epochs.digits-mpl: the campaign has no such workload, only digits-mlp; did you mean digits-mlp?",
        epochs="{ digits-mpl = 3 }",
    ),
    in_file("a negative seed", "seed = -1: must be a whole number from 0 to 4294967295", seed="-1"),
    in_file("a seed too large", "seed = 4294967296: must be a whole number from 0 to 4294967295", seed="4294967296"),
    in_file("no replicates", "replicates = 0: must be a whole number from 1 to 100", replicates="0"),
    in_file("amp in words", "amp = 'yes': must be true or false", amp='"yes"'),
    in_file(
        "a target that is not a number",
        "targets = {'digits-mlp': nan}: the target of 'digits-mlp' must be a finite number, not nan",
        targets="{ digits-mlp = nan }",
    ),
    in_file(
        "a target of an unknown workload",
        "targets.digits: the campaign has no such workload, only digits-mlp; did you mean digits-mlp?",
        targets="{ digits = 0.9 }",
    ),
    in_file(
        "a search space that is a number",
        "search_space = 3: must be a table [search_space.<optimizer>] for each optimizer to change",
        search_space="3",
    ),
    in_file(
        "a search space of an unknown optimizer",
        "search_space.adma is an unknown optimizer: known are {optimizers}; did you mean adam?",
        search_space="{ adma = { lr = 0.1 } }",
    ),
]
