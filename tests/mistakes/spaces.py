"""Mistakes in search spaces: in a campaign's tables, and in files of one's own."""

from __future__ import annotations

from tests.mistakes.mistake import in_space

OWN = """\
from search_spaces import Parameter, SearchSpace

SPACE = SearchSpace(
    optimizer="{optimizer}",
    declared={{
        "lr": {lr},
        "batch_size": Parameter.integer(32, 128, default=64, reason="Fits."),
    }},
)
"""


def _own(lr: str, optimizer: str = "sgd") -> str:
    return OWN.format(lr=lr, optimizer=optimizer)


FILE = 'file = "own.py"'
RANGE = "a range [low, high] of numbers above 0, or one value"

ROWS = [
    in_space(
        "a reversed range",
        "rho = [10.0, 0.1]",
        f"rho = [10.0, 0.1] is a reversed range (write [0.1, 10.0]): allowed is {RANGE}",
    ),
    in_space(
        "an empty range",
        "rho = [1.0, 1.0]",
        f"rho = [1.0, 1.0] is an empty range (to fix the value, write rho = 1.0): allowed is {RANGE}",
    ),
    in_space(
        "a negative range",
        "rho = [-1.0, 1.0]",
        (
            "rho = [-1.0, 1.0] is not accepted by the optimizer: allowed is a range [low, high] of numbers "
            "above 0, or one value"
        ),
    ),
    in_space("a range without end", "rho = [1.0, inf]", f"rho = [1.0, inf] is not finite: allowed is {RANGE}"),
    in_space(
        "a range from what is no number", "rho = [nan, 1.0]", f"rho = [nan, 1.0] is not finite: allowed is {RANGE}"
    ),
    in_space(
        "a range larger than numbers are",
        f"rho = [1, 1{'0' * 400}]",
        (
            "rho = [1, 10000000000000000000000000000000000000000000000000000000… is not finite: allowed is a "
            "range [low, high] of numbers above 0, or one value"
        ),
    ),
    in_space(
        "zero on a log scale",
        "lr = [0.0, 1.0]",
        (
            "lr = [0.0, 1.0] is not accepted by the optimizer: allowed is a range [low, high] of numbers above "
            "0, or one value"
        ),
    ),
    in_space(
        "zero on a log scale that the optimizer accepts",
        "weight_decay = [0.0, 1e-3]",
        (
            "weight_decay = [0.0, 0.001] reaches 0 or below, which a log scale cannot: allowed is a range "
            "[low, high] of numbers at least 0, or one value"
        ),
    ),
    in_space(
        "a range in words",
        'rho = ["low", "high"]',
        "rho = ['low', 'high'] is not a number: allowed is a range [low, high] of numbers above 0, or one value",
    ),
    in_space(
        "a range of three",
        "rho = [0.1, 1.0, 10.0]",
        (
            "rho = [0.1, 1.0, 10.0] is not a range of two numbers: allowed is a range [low, high] of numbers "
            "above 0, or one value"
        ),
    ),
    in_space(
        "a range of nothing",
        "rho = []",
        "rho = [] is not a range of two numbers: allowed is a range [low, high] of numbers above 0, or one value",
    ),
    in_space(
        "a momentum of 1",
        "beta = [0.5, 1.0]",
        (
            "beta = [0.5, 1.0] is not accepted by the optimizer: allowed is a range [low, high] of numbers at "
            "least 0 and below 1, or one value"
        ),
    ),
    in_space(
        "a fixed value that is refused",
        "lr = -0.1",
        "lr = -0.1 is not accepted by the optimizer: allowed is a range [low, high] of numbers above 0, or one value",
    ),
    in_space(
        "a batch of none",
        "batch_size = [0, 64]",
        (
            "batch_size = [0, 64] is not accepted by the optimizer: allowed is a range [low, high] of whole "
            "numbers at least 1 and at most 1e+06, or one value"
        ),
    ),
    in_space(
        "half an example",
        "batch_size = [16, 64.5]",
        (
            "batch_size = [16, 64.5] is not a whole number: allowed is a range [low, high] of whole numbers at "
            "least 1 and at most 1e+06, or one value"
        ),
    ),
    in_space(
        "an unknown parameter",
        "roh = [0.1, 1.0]",
        "roh is no parameter of sofim: allowed are lr, rho, beta, weight_decay, batch_size; did you mean rho?",
    ),
    in_space(
        "an unknown choice",
        'line_search_fn = ["wolfe"]',
        (
            "line_search_fn = ['wolfe'] is not one of its choices: allowed is a list out of 'none', "
            "'strong_wolfe', or one of them"
        ),
        optimizer="lbfgs",
    ),
    in_space(
        "no choice",
        "line_search_fn = []",
        (
            "line_search_fn = [] is empty or names a choice twice: allowed is a list out of 'none', "
            "'strong_wolfe', or one of them"
        ),
        optimizer="lbfgs",
    ),
    in_space(
        "an unknown parameterization",
        'parameterization = "efective"',
        "parameterization = 'efective' is unknown: allowed is default, effective; did you mean effective?",
    ),
    in_space(
        "all fixed",
        "lr = 0.1\nrho = 1.0\nbeta = 0.9\nweight_decay = 0.0\nbatch_size = 64",
        "every parameter of sofim is fixed: leave at least one to search",
    ),
    in_space(
        "a file that is not there",
        FILE,
        "file = {here}/own.py cannot be read: No such file or directory; the path is relative to the campaign's file",
        optimizer="sgd",
    ),
    in_space(
        "a file that is a number",
        "file = 3",
        "file = 3 is not a path: allowed is a Python file that defines SPACE",
        optimizer="sgd",
    ),
    in_space(
        "a file that raises",
        FILE,
        "file = {here}/own.py does not run: ValueError: no luck (line 1)",
        optimizer="sgd",
        own="raise ValueError('no\\nluck')",
    ),
    in_space(
        "a file that is no Python",
        FILE,
        "file = {here}/own.py does not run: SyntaxError: '(' was never closed (own.py, line 1)",
        optimizer="sgd",
        own="SPACE = (\n",
    ),
    in_space(
        "a file without a space",
        FILE,
        "file = {here}/own.py defines no SPACE, a search_spaces.SearchSpace",
        optimizer="sgd",
        own="SPCAE = 3\n",
    ),
    in_space(
        "a file with another thing",
        FILE,
        "file = {here}/own.py: SPACE is a int, not a search_spaces.SearchSpace",
        optimizer="sgd",
        own="SPACE = 3\n",
    ),
    in_space(
        "a file for another optimizer",
        FILE,
        "file = {here}/own.py: SPACE is for 'adam', not for 'sgd'",
        optimizer="sgd",
        own=_own('Parameter.log(0.1, 1.0, default=0.5, reason="x")', "adam"),
    ),
    in_space(
        "a default outside its range",
        FILE,
        "file = {here}/own.py does not run: UserError: default = 5.0 lies outside the range from 0.1 to 1 (line 6)",
        optimizer="sgd",
        own=_own('Parameter.log(0.1, 1.0, default=5.0, reason="x")'),
    ),
    in_space(
        "a reversed range in a file",
        FILE,
        "file = {here}/own.py does not run: UserError: the range [1.0, 0.1] is empty or reversed (line 6)",
        optimizer="sgd",
        own=_own('Parameter.log(1.0, 0.1, default=0.5, reason="x")'),
    ),
    in_space(
        "zero on a log scale in a file",
        FILE,
        "file = {here}/own.py does not run: UserError: 0.0 is not accepted: allowed is above 0 (line 6)",
        optimizer="sgd",
        own=_own('Parameter.log(0.0, 1.0, default=0.5, reason="x")'),
    ),
    in_space(
        "a range without end in a file",
        FILE,
        (
            "file = {here}/own.py does not run: UserError: inf is not accepted: allowed is above -inf and "
            "below inf (line 6)"
        ),
        optimizer="sgd",
        own=_own('Parameter.linear(0.1, float("inf"), default=0.5, reason="x")'),
    ),
]
