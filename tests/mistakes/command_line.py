"""Mistakes on the command line itself."""

from __future__ import annotations

from tests.mistakes.mistake import CAMPAIGN, Mistake, Place, with_lines
from tests.mistakes.storages import RUN
from tests.support.fake_campaign import make

CLI = {"mine.toml": CAMPAIGN}
GPUS = (
    "must be 0, or a share of a GPU from 0.01 to 1: "
    "a trial trains on one GPU at most, and several GPUs run several trials"
)


def unfinished(place: Place) -> None:
    make(place.storage, {"digits-mlp/sgd": [0.5]}, workloads=["digits-mlp"], optimizers=["sgd"])


def tuned(place: Place) -> None:
    """A search by ``sofim tune``."""
    from studies.commands.budget import parse_budget
    from studies.commands.tuning._plan import resolve_campaign
    from studies.ledger import Clock, SearchBudget, open_search

    search = resolve_campaign(
        "digits-mlp", parse_budget("3"), "sgd,sofim", name="best", seed=0, epochs=1, seeds=3, data_directory=None
    )
    with open_search(place.storage, search.stored(), [search.plan()], {}, budget=SearchBudget(Clock(), 3)):
        pass


ROWS = [
    # what click finds
    Mistake(
        id="an unknown command",
        typed="lanch quickstart",
        says="No such command 'lanch'. Did you mean 'launch'?; see: sofim --help",
    ),
    Mistake(id="no campaign named", typed="launch", says="Missing argument 'CAMPAIGN'; see: sofim launch --help"),
    Mistake(
        id="two campaigns",
        typed="launch quickstart fashion",
        says="Got unexpected extra argument (fashion); see: sofim launch --help",
    ),
    Mistake(
        id="an unknown option",
        typed="launch quickstart --trails 3",
        says="No such option '--trails'. Did you mean '--trials'?; see: sofim launch --help",
    ),
    Mistake(
        id="an option without its value",
        typed="launch quickstart --storage {storage} --trials",
        says="Option '--trials' requires an argument; see: sofim --help",
    ),
    Mistake(
        id="half a trial on the line",
        typed="launch quickstart --trials 2.5",
        says="Invalid value for '--trials': '2.5' is not a valid integer; see: sofim launch --help",
    ),
    Mistake(
        id="what is saved, and not where",
        typed="confirm fake --save-optimizer",
        says="--save-optimizer: says what is saved beside the weights; give a directory with --save",
    ),
    Mistake(
        id="a file of one's own where a model is to be saved",
        typed="tune digits-mlp --budget 1 --save kept",
        files={"kept/load.py": "mine = 1\n"},
        storage="empty",
        prints=True,
        says="--save {here}/kept: has a file load.py that sofim did not write, and saving would replace it; name "
        "another directory",
    ),
    *(
        Mistake(
            id=f"{option} of an empty variable of the shell",
            typed=f"{command} {option} ''",
            says=f"{option} '': names nothing; give a path, or . for the current directory",
        )
        for option, command in (
            ("--save", "tune digits-mlp --budget 1"),
            ("--checkpoints", "launch quickstart"),
            ("--data", "evaluate fake"),
            ("--out", "report fake"),
        )
    ),
    Mistake(
        id="a log where not even root can write",
        typed="launch mine.toml --storage {storage} --log tensorboard:/proc/runs",
        files=CLI,
        prints=True,
        says="--log tensorboard:/proc/runs: cannot be opened: [Errno 2] No such file or directory: '/proc/runs'",
    ),
    Mistake(
        id="a share in words",
        typed="launch quickstart --cpus-per-trial two",
        says="Invalid value for '--cpus-per-trial': 'two' is not a valid float; see: sofim launch --help",
    ),
    *(
        Mistake(
            id=f"a time of a trial that is {what}",
            typed=f"{command} --trial-timeout {given}",
            says=f"--trial-timeout {given}: must be a time from a second, such as 1h, 10min or 90s",
        )
        for what, given, command in (
            ("none", "0", "launch quickstart"),
            ("no time", "soon", "confirm fake"),
            ("below zero", "-5s", "tune digits-mlp --budget 3"),
            ("without its unit", "600", "launch quickstart"),
        )
    ),
    Mistake(
        id="a campaign's budget in trials",
        typed="launch quickstart --budget 200",
        says="--budget 200: must be a time from a second, such as 1h, 10min or 90s",
    ),
    Mistake(
        id="no patience",
        typed="launch quickstart --patience 0",
        says="Invalid value for '--patience': 0 is not in the range x>=1; see: sofim launch --help",
    ),
    Mistake(
        id="an argument too many",
        typed="list everything",
        says="Got unexpected extra argument (everything); see: sofim list --help",
    ),
    Mistake(
        id="no seed to confirm on",
        typed="confirm fake --seeds 0",
        says="Invalid value for '--seeds': 0 is not in the range 1<=x<=10000; see: sofim confirm --help",
    ),
    Mistake(
        id="no winner to confirm",
        typed="confirm fake --top 0",
        says="Invalid value for '--top': 0 is not in the range 1<=x<=10000; see: sofim confirm --help",
    ),
    Mistake(
        id="an unknown way with stopped trials",
        typed="report fake --stopped median",
        says=(
            "Invalid value for '--stopped': 'median' is not one of 'median-gain', 'highest-common-epoch'; see: sofim "
            "report --help"
        ),
    ),
    Mistake(
        id="an unknown format",
        typed="export fake --format xml",
        says=(
            "Invalid value for '--format': 'xml' is not one of 'toml', 'json', 'python', 'yaml', 'table'; "
            "see: sofim export --help"
        ),
    ),
    Mistake(id="nothing to export", typed="export", says="Missing argument 'CAMPAIGN...'; see: sofim export --help"),
    Mistake(id="no budget", typed="tune digits-mlp", says="Missing option '--budget'; see: sofim tune --help"),
    Mistake(
        id="a port that no machine has",
        typed="dashboard --port 65536",
        says="Invalid value for '--port': 65536 is not in the range 0<=x<=65535; see: sofim dashboard --help",
    ),
    # logs
    Mistake(
        id="a log of no kind that there is",
        typed="launch quickstart --log comet:mine",
        says="--log comet:mine: must be one of tensorboard:DIR, mlflow:URI, wandb:PROJECT, trackio:PROJECT",
    ),
    Mistake(
        id="a log without a kind",
        typed="tune digits-mlp --budget 3 --log runs",
        says="--log runs: must be one of tensorboard:DIR, mlflow:URI, wandb:PROJECT, trackio:PROJECT",
    ),
    Mistake(
        id="a log without a place",
        typed="confirm fake --log tensorboard:",
        says="--log tensorboard:: says no place; give --log tensorboard:DIR",
    ),
    Mistake(
        id="a log in a file",
        typed="launch quickstart --log tensorboard:mine.toml",
        files=CLI,
        says="--log tensorboard:{here}/mine.toml: {here}/mine.toml is no directory; give another one",
    ),
    Mistake(
        id="a log below a file",
        typed="launch quickstart --log tensorboard:mine.toml/runs",
        files=CLI,
        says="--log tensorboard:{here}/mine.toml/runs: {here}/mine.toml is no directory; give another one",
    ),
    Mistake(
        id="a log where nothing can be written",
        typed="launch quickstart --log tensorboard:locked/runs",
        files={"locked/file": ""},
        prepare=lambda place: (place.here / "locked").chmod(0o555),
        as_nobody=True,
        says="--log tensorboard:{here}/locked/runs: nothing can be written in {here}/locked; give another directory",
    ),
    # numbers
    Mistake(
        id="no trials on the line",
        typed="launch quickstart --trials 0",
        says="trials = 0: must be a whole number from 1 to 1000000",
    ),
    Mistake(
        id="fewer trials than none on the line",
        typed="launch quickstart --trials -5",
        says="trials = -5: must be a whole number from 1 to 1000000",
    ),
    Mistake(
        id="a negative seed on the line",
        typed="launch quickstart --seed -1",
        says="seed = -1: must be a whole number from 0 to 4294967295",
    ),
    Mistake(
        id="no processor",
        typed="launch quickstart --cpus-per-trial 0",
        says="--cpus-per-trial 0: must be a number from 0.01",
    ),
    Mistake(
        id="a share that is not a number",
        typed="confirm fake --cpus-per-trial nan",
        says="--cpus-per-trial nan: must be a number from 0.01",
    ),
    Mistake(
        id="a negative share",
        typed="launch quickstart --gpus-per-trial -1",
        says=f"--gpus-per-trial -1: {GPUS}",
    ),
    Mistake(
        id="one and a half GPUs",
        typed="tune digits-mlp --budget 10 --gpus-per-trial 1.5",
        says=f"--gpus-per-trial 1.5: {GPUS}",
    ),
    Mistake(
        id="processors without end",
        typed="evaluate fake --cpus-per-trial inf",
        says="--cpus-per-trial inf: must be a number from 0.01",
    ),
    Mistake(
        id="more processors than any node has, and no cluster that happens to run somewhere is joined",
        typed=f"{RUN} --cpus-per-trial 4096",
        environment={"RAY_ADDRESS": "127.0.0.1:1"},
        cluster=True,
        storage="empty",
        leaves="studies",
        prints=True,
        only="sqlite",
        says="--cpus-per-trial 4096: no node has more than <any> CPUs; ask for at most that",
    ),
    Mistake(
        id="a cluster that does not answer",
        typed=f"{RUN} --address 127.0.0.1:1",
        storage="empty",
        leaves="studies",
        says=(
            "--address 127.0.0.1:1: no Ray cluster answers there (Connection refused); start one with: ray start --head"
        ),
    ),
    Mistake(
        id="an address without a port",
        typed=f"{RUN} --address head",
        storage="empty",
        leaves="studies",
        says="--address head: must be host:port of a Ray cluster's head, or auto",
    ),
    Mistake(
        id="a cluster of the environment that is gone",
        typed=f"{RUN} --address auto",
        storage="empty",
        leaves="studies",
        environment={"RAY_ADDRESS": "127.0.0.1:1"},
        says=(
            "--address auto (RAY_ADDRESS=127.0.0.1:1): no Ray cluster answers there (Connection refused); start one "
            "with: ray start --head"
        ),
    ),
    Mistake(
        id="more processors than the process may use",
        typed=f"{RUN} --cpus 4096",
        storage="empty",
        leaves="studies",
        says="--cpus 4096: this process may use <any> CPUs; ask for at most that",
    ),
    Mistake(
        id="more GPUs than the process may use",
        typed=f"{RUN} --gpus 64",
        storage="empty",
        leaves="studies",
        says="--gpus 64: this process may use <any> GPUs; ask for at most that",
    ),
    Mistake(
        id="processors that no machine has left",
        typed="launch quickstart --cpus 0",
        says="Invalid value for '--cpus': 0 is not in the range x>=1; see: sofim launch --help",
    ),
    Mistake(
        id="a limit to a cluster",
        typed="confirm fake --address auto --cpus 2",
        says=(
            "--cpus 2: limits this machine, and with --address the nodes say what they have; leave it out, or start "
            "them with: ray start --num-cpus=2"
        ),
    ),
    Mistake(
        id="a dry run of what does not fit",
        typed=f"{RUN} --dry-run --cpus-per-trial 4096",
        says="--cpus-per-trial 4096: no node has more than <any> CPUs; ask for at most that",
    ),
    Mistake(
        id="an address that is none",
        typed=f"{RUN} --address ray://127.0.0.1:10001",
        storage="empty",
        leaves="studies",
        says=(
            "--address ray://127.0.0.1:10001: Ray's client cannot run a campaign; give the head's own address "
            "(host:6379), or --address auto on one of the cluster's machines"
        ),
    ),
    # campaigns and their names
    Mistake(
        id="an unknown campaign",
        typed="launch quickstrat",
        says=(
            "no campaign 'quickstrat': it is no preset ({presets}), no TOML file, and not in {storage} (fake); "
            "did you mean quickstart?"
        ),
    ),
    Mistake(
        id="an unknown campaign like no other",
        typed="launch zzz",
        says="no campaign 'zzz': it is no preset ({presets}), no TOML file, and not in {storage} (fake)",
    ),
    Mistake(
        id="a campaign of two lines",
        typed="launch 'a\nb'",
        says="no campaign 'a\\nb': it is no preset ({presets}), no TOML file, and not in {storage} (fake)",
    ),
    Mistake(
        id="a campaign with a control character",
        typed="status 'a\x1bb'",
        says="no campaign 'a\\x1bb' in {storage}; there are: fake",
    ),
    Mistake(
        id="a file of two lines",
        typed="launch 'a\nb.toml'",
        says="a\\nb.toml: cannot be read: No such file or directory",
    ),
    Mistake(
        id="another name with a slash",
        typed="launch quickstart --name a/b",
        says="name = 'a/b': must not contain '/' (nor any slash, colon, wildcard or control character)",
    ),
    Mistake(
        id="another name with a control character",
        typed="launch quickstart --name 'a\tb'",
        says="name = 'a\\tb': must not contain '\\t' (nor any slash, colon, wildcard or control character)",
    ),
    Mistake(
        id="another name that is empty",
        typed="launch quickstart --name ''",
        says="name = '': must be 1 to 64 characters, the first and last no space",
    ),
    Mistake(
        id="unknown optimizers on the line",
        typed="launch quickstart --optimizers sgd,adma",
        says=(
            "optimizers = ['sgd', 'adma']: 'adma' is an unknown optimizer: known are {optimizers}; did you mean adam?"
        ),
    ),
    Mistake(
        id="no optimizers on the line",
        typed="launch quickstart --optimizers ,",
        says='optimizers = []: must be a list of optimizers, such as ["sofim", "sgd"]',
    ),
    Mistake(
        id="unknown workloads on the line",
        typed="launch quickstart --workloads digits",
        says=(
            "workloads = ['digits']: 'digits' is unknown: known are {workloads}, and package.module:factory "
            "for your own; did you mean digits-vit?"
        ),
    ),
    Mistake(
        id="own workloads and others",
        typed="launch quickstart --workload mine:xor --workloads digits-mlp",
        says="--workload and --workloads exclude each other; give one of them",
    ),
    Mistake(
        id="another configuration",
        typed="launch fake --trials 3",
        says=(
            "campaign 'fake' is in the storage with another configuration (trials was 2, is 3); give this one "
            "another name with --name, or add trials, optimizers, workloads or wider ranges to that one with --extend"
        ),
    ),
    Mistake(
        id="a campaign that was tuned",
        typed="launch best",
        storage="empty",
        prepare=tuned,
        says=(
            "campaign 'best' was made by sofim tune, which also goes on with it: sofim tune digits-mlp --name "
            "best --budget 3 --epochs 1 --seeds 3 --optimizers sgd,sofim --storage {storage}"
        ),
    ),
    Mistake(
        id="a search that was launched",
        typed="tune digits-mlp --budget 10 --name fake",
        says=(
            "campaign 'fake' is in the storage with another configuration (optimizers was sgd, is "
            "{chosen}; pruner was none, is asha; sampler was random, is tpe; spaces of adamw, muon, "
            "schedule-free-adamw, soap, sofim changed); give this one another name with --name"
        ),
    ),
    Mistake(
        id="a campaign to confirm that is not there",
        typed="confirm quickstart",
        says="no campaign 'quickstart' in {storage} to confirm; there are: fake; launch it first",
    ),
    Mistake(
        id="a campaign to confirm that is not finished",
        typed="confirm fake",
        storage="empty",
        prepare=unfinished,
        says=(
            "campaign 'fake' is not finished: 1 of 2 trials is missing (digits-mlp/sgd 1); go on with: sofim "
            "launch fake --storage {storage}, or confirm what is there with --anyway"
        ),
    ),
    Mistake(
        id="a status of no campaign",
        typed="status fkae",
        says="no campaign 'fkae' in {storage}; there are: fake; did you mean fake?",
    ),
    Mistake(
        id="an export of no campaign",
        typed="export fkae",
        says="no campaign 'fkae' in {storage}; there are: fake; did you mean fake?",
    ),
    Mistake(
        id="an export of another optimizer",
        typed="export fake --optimizer sdg",
        says="--optimizer sdg: fake has only sgd; did you mean sgd?",
    ),
    Mistake(
        id="an export of another workload",
        typed="export fake --workload digits",
        says="--workload digits: fake has only digits-mlp; did you mean digits-mlp?",
    ),
    Mistake(
        id="seeds for what is not run",
        typed="export fake --seeds 5",
        says="No such option '--seeds'; see: sofim export --help",
    ),
    Mistake(
        id="an export to a full disk",
        typed="export fake --out /dev/full",
        says="--out /dev/full: cannot be written: No space left on device",
    ),
    Mistake(
        id="an export to a missing directory",
        typed="export fake --out none/best.toml",
        says="--out none/best.toml: cannot be written: No such file or directory",
    ),
    Mistake(
        id="an export into a directory",
        typed="export fake --out {here}",
        says="Invalid value for '--out': File '{here}' is a directory; see: sofim export --help",
    ),
    # to begin with
    Mistake(
        id="a start that is not there",
        typed="launch quickstart --from best.toml",
        says="--from best.toml: cannot be read: No such file or directory",
    ),
    Mistake(
        id="a start that is no TOML",
        typed="launch quickstart --from best.toml",
        files={"best.toml": "best"},
        says=("--from best.toml: is not valid TOML: Expected '=' after a key in a key/value pair (at end of document)"),
    ),
    Mistake(
        id="a start that is a campaign",
        typed="launch quickstart --from mine.toml",
        files=CLI,
        says="--from mine.toml: is not what sofim export --format toml writes: it has no [optimizers]",
    ),
    Mistake(
        id="a start for none of them",
        typed="launch mine.toml --from best.toml",
        files=CLI | {"best.toml": "[optimizers.adam.default.params]\nlr = 0.1\n"},
        says="--from best.toml: recommends nothing of sgd",
    ),
    Mistake(
        id="a start outside the range",
        typed="launch mine.toml --from best.toml",
        files=CLI | {"best.toml": "[optimizers.sgd.default.params]\nlr = 100.0\n"},
        says=(
            "--from best.toml: sgd on digits-mlp: lr = 100.0 lies outside the range from 0.001 to 5; widen it "
            "with lr in [search_space.sgd]"
        ),
    ),
    Mistake(
        id="a start that lacks a value",
        typed="launch mine.toml --from best.toml",
        files=CLI | {"best.toml": "[optimizers.sgd.default.params]\nmomentum = 0.9\n"},
        says="--from best.toml: sgd on digits-mlp: has no lr, which the campaign searches",
    ),
    Mistake(
        id="a start for a sampler that does not learn",
        typed="launch mine.toml --from best.toml",
        files={"mine.toml": with_lines(sampler='"random"'), "best.toml": ""},
        says=(
            "--from best.toml: sampler random draws independently of any start; samplers that begin with one "
            "are tpe, gp, cmaes"
        ),
    ),
    # budgets
    Mistake(
        id="a budget in words",
        typed="tune digits-mlp --budget soon",
        says="budget 'soon': must be a time such as 1h, 30min or 90s, or a number of trials such as 200",
    ),
    Mistake(
        id="a budget of nothing",
        typed="tune digits-mlp --budget 0",
        says="budget 0: a number of trials is from 1 to 1000000",
    ),
    Mistake(
        id="a budget that is negative",
        typed="tune digits-mlp --budget -1h",
        says="budget '-1h': must be a time such as 1h, 30min or 90s, or a number of trials such as 200",
    ),
    Mistake(
        id="a budget too short",
        typed="tune digits-mlp --budget 5s",
        says="budget 5s: too short, start and end alone take 20 s; give a minute or more",
    ),
    Mistake(
        id="a budget too long",
        typed="tune digits-mlp --budget 9999d",
        says="budget 9999d: too long; give at most a year",
    ),
    Mistake(
        id="an unknown workload to tune",
        typed="tune digit-mlp --budget 10",
        says=(
            "workload 'digit-mlp' is unknown: known are {workloads}, and package.module:factory for your own; "
            "did you mean digits-mlp?"
        ),
    ),
    Mistake(
        id="an unknown optimizer to choose from",
        typed="tune digits-mlp --budget 10 --optimizers adma",
        says=("optimizers = ['adma']: 'adma' is an unknown optimizer: known are {optimizers}; did you mean adam?"),
    ),
    Mistake(
        id="no epochs to tune",
        typed="tune digits-mlp --budget 10 --epochs 0",
        says="epochs = 0: must be a whole number from 1 to 1000000",
    ),
    Mistake(
        id="a search with a slash in its name",
        typed="tune digits-mlp --budget 10 --name a/b",
        says="name = 'a/b': must not contain '/' (nor any slash, colon, wildcard or control character)",
    ),
    # the dashboard
    Mistake(
        id="an address of somebody else",
        typed="dashboard --port 0 --host 192.0.2.1",
        says=(
            "cannot listen on 192.0.2.1:0: Cannot assign requested address; choose another --port (0: any free "
            "one) or --host"
        ),
    ),
    Mistake(
        id="a host that no host can be",
        typed=f"dashboard --port 0 --host {'a' * 70}",
        says=(
            "cannot listen on aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:0: Name "
            "or service not known; choose another --port (0: any free one) or --host"
        ),
    ),
]
