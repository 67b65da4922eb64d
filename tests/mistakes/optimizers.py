"""Mistakes in optimizers of one's own: none of them begins a trial."""

from __future__ import annotations

from tests.mistakes.mistake import CAMPAIGN, Mistake
from tests.support.own_optimizer import MINE

WRONG = (
    MINE
    + """

class Bare(Signed):
    def __init__(self, params, lr, **arguments):
        torch.optim.Optimizer.__init__(self, params, {"rate": lr})

class Raises(Signed):
    def step(self, closure=None):
        raise ArithmeticError("no step")

def returns(params, lr):
    return lr

def raises(params, lr):
    raise OSError("no luck")

def narrow(params):
    return Signed(params)

def groups(model):
    return [{"params": [model]}]

def unsure(model):
    raise TypeError("no groups")

number = 3
spaceless = OptimizerSpec("spaceless", Signed)
sgd = OptimizerSpec("sgd", Signed, space=spec.space)
slash = OptimizerSpec("a/b", Signed, space=spec.space)
listed = OptimizerSpec("listed", Signed, space=[1])
empty = OptimizerSpec("empty", None, space=spec.space)
grouped = OptimizerSpec("grouped", signed, groups="x", space=spec.space)
sloped = OptimizerSpec("sloped", signed, schedule="constant+warmup", space=spec.space)
narrowed = OptimizerSpec("narrowed", narrow, space=spec.space)
confused = OptimizerSpec("confused", signed, groups=unsure, space=spec.space)
from search_spaces import SEARCH_SPACES
from dataclasses import replace
coded = OptimizerSpec("coded", Signed, space=replace(SEARCH_SPACES["adam"], optimizer="coded"))
foreign = OptimizerSpec("foreign", Signed, space=SEARCH_SPACES["sofim"])
"""
)
LR = "[search_space.mine]\nlr = { low = 1e-4, high = 1e-1, log = true, default = 1e-2 }\n"


def table(id: str, says: str, lines: str, space: str = LR, *, typed: str = "launch mine.toml") -> Mistake:
    """A mistake in ``[optimizer.mine]`` or ``[search_space.mine]``, or in what they name."""
    campaign = CAMPAIGN.replace('["sgd"]', '["sgd", "mine"]')
    text = f"{campaign}[optimizer.mine]\n{lines}\n{space}"
    return Mistake(id=id, typed=typed, files={"mine.toml": text, "mine.py": WRONG}, says=says)


def made(id: str, says: str, factory: str, more: str = "") -> Mistake:
    """A mistake that shows when the optimizer is made."""
    return table(id, f"{says}; leave that out: --optimizers sgd", f'factory = "mine:{factory}"\n{more}')


def row(id: str, says: str, name: str, *, typed: str = "launch quickstart --name mine --optimizer mine:") -> Mistake:
    """A mistake in a row in Python."""
    return Mistake(id=id, typed=f"{typed}{name}", files={"mine.py": WRONG}, says=says)


def line_of(text: str) -> int:
    """The line of ``mine.py`` on which that stands."""
    return 1 + WRONG[: WRONG.index(text)].count("\n")


WHERE = "in {here} or elsewhere on Python's path"

ROWS = [
    # what it names
    table("no such module", f"optimizer nope:Lion: there is no module nope {WHERE}", 'factory = "nope:Lion"'),
    table(
        "no such factory",
        "optimizer mine:Sined: {here}/mine.py has no Sined; did you mean Signed?",
        'factory = "mine:Sined"',
    ),
    table(
        "a factory that cannot be called",
        "optimizer mine:number: number in {here}/mine.py is of type int, not a function",
        'factory = "mine:number"',
    ),
    table(
        "groups that cannot be called",
        "optimizer mine:number: number in {here}/mine.py is of type int, not a function",
        'factory = "mine:Signed"\ngroups = "mine:number"',
    ),
    made(
        "a factory that returns something else",
        "optimizer mine: its factory returned float, not a torch.optim.Optimizer "
        f"({{here}}/mine.py:{line_of('def returns')})",
        "returns",
    ),
    made(
        "an optimizer whose factory raises",
        "optimizer mine: called with the parameters, lr, its factory raised OSError: no luck "
        f"({{here}}/mine.py:{line_of('raise OSError')})",
        "raises",
    ),
    made(
        "a factory with other arguments",
        "optimizer mine: called with the parameters, lr, its factory raised TypeError: narrow() got an unexpected "
        f"keyword argument 'lr' ({{here}}/mine.py:{line_of('def narrow')}); arguments in [optimizer.mine] make one of "
        'several, as betas = ["beta1", "beta2"]',
        "narrow",
    ),
    made(
        "groups without a learning rate",
        "optimizer mine: its parameter groups have no lr, which the schedule of the learning rate sets: give the "
        f"optimizer a default lr, a number ({{here}}/mine.py:{line_of('class Bare')})",
        "Bare",
    ),
    made(
        "modes that it has not",
        "optimizer mine: has_modes is true, and its optimizer has no train() "
        f"({{here}}/mine.py:{line_of('class Sig')})",
        "Signed",
        "has_modes = true",
    ),
    made(
        "a step that raises",
        "optimizer mine: two steps on digits-mlp raised ArithmeticError: no step "
        f"({{here}}/mine.py:{line_of('raise Arith')})",
        "Raises",
    ),
    # what it says
    table(
        "neither factory nor spec",
        'mine.toml: optimizer.mine: must have factory = "module:callable", or spec = '
        '"module:name" of a row, and not both',
        "needs_closure = false",
    ),
    table(
        "an unknown key of an optimizer",
        "mine.toml: optimizer.mine: factry is no key of an optimizer: allowed are spec, factory, "
        "arguments, needs_closure, needs_create_graph, needs_hessian, evaluations_per_step, has_modes, groups, "
        "schedule; did you mean factory?",
        'factry = "mine:Signed"',
    ),
    table(
        "a row that is said twice",
        "mine.toml: optimizer.mine: has_modes: a row says that itself; leave it out beside spec",
        'spec = "mine:spec"\nhas_modes = true',
    ),
    table(
        "no form of a factory",
        "mine.toml: optimizer.mine: factory = 'mine.Signed': must be of the form module:name",
        'factory = "mine.Signed"',
    ),
    table(
        "a text for true",
        "mine.toml: optimizer.mine: needs_closure = 'yes': must be true or false",
        'factory = "mine:Signed"\nneeds_closure = "yes"',
    ),
    table(
        "less than no passes",
        "mine.toml: optimizer.mine: evaluations_per_step = -1: must be a whole number from 0 to 1000000",
        'factory = "mine:Signed"\nevaluations_per_step = -1',
    ),
    table(
        "an argument of unknown parameters",
        "mine.toml: search_space.mine: arguments.betas = ['b1', 'b2']: 'b1' is no "
        "parameter of the search space, which has lr",
        'factory = "mine:Signed"\narguments = {betas = ["b1", "b2"]}',
    ),
    table(
        "an argument that is a parameter",
        "mine.toml: search_space.mine: arguments.lr: lr is a parameter of the search space; leave one of them out",
        'factory = "mine:Signed"\narguments = {lr = 0.1}',
    ),
    table(
        "an argument that is a date",
        "mine.toml: optimizer.mine: arguments.day = datetime.date(2026, 1, 1): must be a "
        "number, a text, true, false, or a list of numbers and names of parameters",
        'factory = "mine:Signed"\narguments = {day = 2026-01-01}',
    ),
    table(
        "an argument of the loop's",
        "mine.toml: optimizer.mine: arguments.batch_size: is for the training loop, not for the optimizer",
        'factory = "mine:Signed"\narguments = {batch_size = 3}',
    ),
    table(
        "no search space",
        "mine.toml: search_space.mine: it has no search space: write each of its parameters, as "
        "lr = { low = 1e-5, high = 1e-2, log = true, default = 3e-4 }",
        'factory = "mine:Signed"',
        "",
    ),
    table(
        "a range that is empty",
        "mine.toml: search_space.mine: lr: low = 2.0 is above high = 1.0",
        'factory = "mine:Signed"',
        "[search_space.mine]\nlr = { low = 2, high = 1, default = 1 }\n",
    ),
    table(
        "a schedule that is none",
        "mine.toml: optimizer.mine: schedule = 'step': must be one of constant, cosine, linear",
        'factory = "mine:Signed"\nschedule = "step"',
    ),
    table(
        "the key of another",
        "optimizer.mine: the key of mine:spec is 'signed-row'; call the table [optimizer.signed-row]",
        'spec = "mine:spec"',
        "",
    ),
    Mistake(
        id="a search space without an optimizer",
        typed="launch mine.toml",
        files={"mine.toml": f"{CAMPAIGN}{LR}"},
        says="mine.toml: search_space.mine is an unknown optimizer: known are {optimizers}; your own needs a table "
        "[optimizer.NAME], or --optimizer module:spec",
    ),
    Mistake(
        id="the table of another name",
        typed="launch mine.toml",
        files={"mine.toml": f'{CAMPAIGN}[optimizers.mine]\nfactory = "mine:Signed"\n'},
        says="mine.toml: optimizers is the list of names; the table of an optimizer of your own is called "
        "[optimizer.NAME]",
    ),
    Mistake(
        id="a name that exists",
        typed="launch mine.toml",
        files={"mine.toml": f'{CAMPAIGN}[optimizer.sgd]\nfactory = "mine:Signed"\n'},
        says="mine.toml: optimizer.sgd: sgd is an optimizer of the project's own; give yours another name",
    ),
    Mistake(
        id="a name that stands for all",
        typed="launch mine.toml",
        files={"mine.toml": f'{CAMPAIGN}[optimizer.any]\nfactory = "mine:Signed"\n'},
        says="mine.toml: optimizer.any: the word has another meaning in commands and studies' names; choose another",
    ),
    # rows in Python
    row(
        "no form of a row",
        "--optimizer mine.spec: must be of the form module:spec; --optimizers chooses among those that are known",
        "",
        typed="launch quickstart --optimizer mine.spec",
    ),
    row(
        "an optimizer in place of a row",
        "optimizer mine:Signed: Signed is an optimizer, without a search space; name a "
        "row beside it, spec = sofim.OptimizerSpec('signed', Signed, space={...})",
        "Signed",
    ),
    row(
        "something else in place of a row",
        "optimizer mine:number: number in {here}/mine.py is of type int, not a function",
        "number",
    ),
    row(
        "a row without a search space",
        "optimizer mine:spaceless: it has no search space: write each of its parameters, as "
        "lr = { low = 1e-5, high = 1e-2, log = true, default = 3e-4 }",
        "spaceless",
    ),
    row(
        "a row with a name that exists",
        "optimizer.sgd: sgd is an optimizer of the project's own; give yours another name",
        "sgd",
    ),
    row(
        "a row with a name that no study can have",
        "optimizer.a/b: is no name for an optimizer: allowed are 1 to 40 letters, digits, - and _, the first a letter",
        "slash",
    ),
    row(
        "a row whose space is a list",
        "optimizer mine:listed: its space is a list, not a search_spaces.SearchSpace or a table",
        "listed",
    ),
    row(
        "a row whose space is another's",
        "optimizer mine:foreign: its space is for 'sofim', not for 'foreign'",
        "foreign",
    ),
    row(
        "a row whose space has code",
        "optimizer mine:coded: its space makes the arguments by a function, build, which no database can hold: leave "
        "that out, and let the factory take lr, beta1, beta2, eps",
        "coded",
    ),
    row(
        "a row without a factory",
        "optimizer mine:empty: its factory is of type NoneType, and cannot be called",
        "empty",
    ),
    row(
        "a row whose groups cannot be called",
        "optimizer mine:grouped: its groups are of type str, and cannot be called",
        "grouped",
    ),
    row(
        "a row with a schedule that is none",
        "optimizer mine:sloped: its schedule is 'constant+warmup': must be one of constant, cosine, linear",
        "sloped",
    ),
    row(
        "a row whose factory has other arguments",
        "optimizer narrowed: called with the parameters, lr, beta1, its factory raised TypeError: narrow() got an "
        f"unexpected keyword argument 'lr' ({{here}}/mine.py:{line_of('def narrow')}); give its row a factory that "
        "takes the parameters of its space; leave that out: --optimizers sofim,sgd,adam,adamw,adahessian,lbfgs,"
        "nystrom-sgd",
        "narrowed",
    ),
    row(
        "a row whose groups raise",
        "optimizer confused: its function of parameter groups raised TypeError: no groups "
        f"({{here}}/mine.py:{line_of('raise TypeError')}); leave that out: --optimizers sofim,sgd,adam,adamw,"
        "adahessian,lbfgs,nystrom-sgd",
        "confused",
    ),
    row(
        "a row for tune",
        "optimizer.sgd: sgd is an optimizer of the project's own; give yours another name",
        "sgd",
        typed="tune digits-mlp --budget 3 --optimizer mine:",
    ),
    Mistake(
        id="a row with the key of a table",
        typed="launch mine.toml --optimizer mine:spec",
        files={
            "mine.py": MINE,
            "mine.toml": f'{CAMPAIGN}[optimizer.signed-row]\nfactory = "mine:Signed"\n',
        },
        says="--optimizer mine:spec: its key is signed-row, as that of another optimizer that the campaign defines; "
        "give yours another",
    ),
]
