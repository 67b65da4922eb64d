"""Mistakes with what guards against loss: time-outs, checkpoints, extensions, the journal file, a second driver."""

from __future__ import annotations

from tests.mistakes.mistake import CAMPAIGN, Mistake

RUN = "launch quickstart --workloads digits-mlp --optimizers sgd"

ROWS = [
    Mistake(
        id="a negative time-out",
        typed=f"{RUN} --storage-timeout -1",
        says="--storage-timeout -1: must be a number of seconds from 0",
    ),
    Mistake(
        id="no number of seconds",
        typed=f"{RUN} --storage-timeout nan",
        says="--storage-timeout nan: must be a number of seconds from 0",
    ),
    Mistake(
        id="for ever",
        typed=f"{RUN} --storage-timeout inf",
        says="--storage-timeout inf: must be a number of seconds from 0",
    ),
    Mistake(
        id="checkpoints every negative epoch",
        typed=f"{RUN} --checkpoint-every -2",
        says="--checkpoint-every -2: must be a number of epochs from 1, or 0 for none",
    ),
    Mistake(
        id="checkpoints in a file",
        typed=f"{RUN} --checkpoints taken",
        files={"taken": "a file"},
        says="Invalid value for '--checkpoints': Directory 'taken' is a file; see: sofim launch --help",
    ),
    Mistake(
        id="checkpoints below a file",
        typed=f"{RUN} --checkpoints taken/kept",
        files={"taken": "a file"},
        says="--checkpoints taken/kept: cannot be written ({here}/taken is no directory); name another directory",
    ),
    Mistake(
        id="checkpoints of an export that runs nothing",
        typed="export fake --checkpoint-every 2",
        says="No such option '--checkpoint-every'; see: sofim export --help",
    ),
    Mistake(
        id="an extension by fewer trials",
        typed="launch fake --extend --trials 1",
        says=(
            "--extend --trials 1: campaign 'fake' has 2 trials a study, and --extend takes nothing away; give at "
            "least that many, or another --name"
        ),
    ),
    Mistake(
        id="an extension by another seed",
        typed="launch fake --extend --seed 7",
        says=(
            "--extend adds trials, optimizers or workloads to campaign 'fake', or widens ranges, and changes nothing "
            "else (seed was 0, is 7); leave that as it was, or give this one another name with --name"
        ),
    ),
    Mistake(
        id="an extension by another campaign",
        typed="launch mine.toml --extend --name fake",
        files={"mine.toml": CAMPAIGN + 'schedule = "cosine"\n'},
        says=(
            "--extend adds trials, optimizers or workloads to campaign 'fake', or widens ranges, and changes nothing "
            "else (<any>schedule was constant, is cosine<any>); leave that as it was, or give this one another name "
            "with --name"
        ),
    ),
    Mistake(
        id="a journal without a directory",
        typed=f"{RUN} --storage journal:///none/sofim.log",
        only="sqlite",
        says="storage 'journal:///none/sofim.log': there is no directory none; make it first: mkdir -p none",
    ),
    Mistake(
        id="a journal without a name",
        typed=f"{RUN} --storage journal:///",
        only="sqlite",
        says="storage 'journal:///' names no file; write for example journal:///sofim.log",
    ),
    Mistake(
        id="a text for a journal",
        typed=f"{RUN} --storage journal:///mine.toml",
        files={"mine.toml": CAMPAIGN},
        only="sqlite",
        says=("storage 'journal:///mine.toml': mine.toml is not a journal of Optuna; name another file with --storage"),
    ),
    Mistake(
        id="no journal to look at",
        typed="status --storage journal:///sofim.log",
        only="sqlite",
        says=(
            "storage 'journal:///sofim.log': there is no file sofim.log; name another with --storage, or launch a "
            "campaign"
        ),
    ),
]
