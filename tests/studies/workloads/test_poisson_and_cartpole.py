"""The workloads without data: their mathematics against slower twins, their runs as those of any other row."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import asdict, replace

import pytest
import torch

from search_spaces import SEARCH_SPACES
from search_spaces.errors import UserError
from sofim import OPTIMIZERS
from studies.training.rehearsal import rehearse
from studies.training.run import Run
from studies.workloads import WORKLOADS, check
from studies.workloads import cartpole_reinforce as cartpole
from studies.workloads import poisson_pinn as poisson

NAMES = ["poisson-pinn", "cartpole-reinforce"]


@pytest.fixture(autouse=True)
def _gymnasium(request):
    if "cartpole" in request.node.name:
        pytest.importorskip("gymnasium")


def run_of(name, key, *, test=False):
    """A short run by the default configuration."""
    workload = replace(WORKLOADS[name], examples=32)
    arguments = {**SEARCH_SPACES[key].arguments(SEARCH_SPACES[key].default), "batch_size": 16}
    return Run(workload, OPTIMIZERS[key], arguments, seed=3, budget=3, data=None, test=test)


def told(records):
    return [{name: repr(value) for name, value in asdict(r).items() if name != "seconds"} for r in records]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_takes_steps(name):
    workload = replace(WORKLOADS[name], examples=16)
    rehearse(workload, check(workload, test=True), SEARCH_SPACES)


@pytest.mark.nightly(by_day=["poisson-pinn-lbfgs", "cartpole-reinforce-schedule-free-adamw"])
@pytest.mark.slow
@pytest.mark.parametrize("key", ["lbfgs", "nystrom-sgd", "schedule-free-adamw"])  # two others in test_every_row.py
@pytest.mark.parametrize("name", NAMES)
def test_a_run_repeats_and_goes_on_bit_for_bit(name, key):
    whole = told(run_of(name, key, test=True).records())
    first = run_of(name, key, test=True)
    begun = [first.next_epoch()]
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    torch.rand(5)  # what runs in between
    second = run_of(name, key, test=True)
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert told([*begun, *second.records()]) == whole
    assert whole[0]["metric"] != whole[0]["test_metric"]  # other points, other episodes


# -- Poisson's equation -----------------------------------------------------------------------------------------------


def test_laplacian_is_what_differentiating_twice_gives():
    field = poisson.Field().double()
    points = torch.rand(20, 2, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(field(points).sum(), points, create_graph=True)
    second = [torch.autograd.grad(slopes[:, i].sum(), points, retain_graph=True)[0][:, i] for i in range(2)]
    torch.testing.assert_close(field.laplacian(points), second[0] + second[1])


def test_the_solution_solves_the_equation_and_the_field_vanishes_on_the_boundary():
    class Solved(poisson.Field):
        def forward(self, points):
            return poisson.solution(points)

        def laplacian(self, points):
            at = points.detach().clone().requires_grad_()
            with torch.enable_grad():
                (slopes,) = torch.autograd.grad(poisson.solution(at).sum(), at, create_graph=True)
                return sum(torch.autograd.grad(slopes[:, i].sum(), at, retain_graph=True)[0][:, i] for i in range(2))

    for split in ("validation", "test"):
        told = poisson._evaluate(Solved(), None, split)
        assert told["error"] == 0
        assert told["loss"] < 1e-9
    side = torch.rand(9)
    corners = [torch.stack(pair, 1) for end in (0.0, 1.0) for pair in ((side, 0 * side + end), (0 * side + end, side))]
    assert all(poisson.Field()(edge).abs().max() == 0 for edge in corners)


@pytest.mark.slow
def test_pinn_is_learnt_in_few_steps():
    workload = replace(WORKLOADS["poisson-pinn"], examples=1024)
    arguments = SEARCH_SPACES["lbfgs"].arguments(SEARCH_SPACES["lbfgs"].default)
    run = Run(workload, OPTIMIZERS["lbfgs"], arguments, seed=0, budget=5, data=None)
    errors = [record.metric for record in run.records()]
    assert errors[-1] < 0.01 < errors[0]


# -- CartPole ---------------------------------------------------------------------------------------------------------


def test_cartpole_is_played_as_gymnasium_plays_it():
    import gymnasium

    policy, starts = cartpole._policy(), cartpole._starts(None, 5, torch.Generator().manual_seed(0))
    observed, right, going_on = cartpole._play(policy, starts)
    single = gymnasium.make("CartPole-v1")
    for episode, start in enumerate(starts):
        single.reset(seed=0)
        single.unwrapped.state = start.double().numpy()
        for step in range(int(going_on[:, episode].sum())):
            state, reward, fallen, _, _ = single.step(int(right[step, episode]))
            assert reward == 1
            if not fallen:
                torch.testing.assert_close(observed[step + 1, episode], torch.from_numpy(state))
        assert fallen  # then, and not before
    single.close()


def test_cartpole_objective_is_the_return_and_has_the_gradient_of_reinforce():
    torch.manual_seed(0)
    policy, starts = cartpole._policy(), cartpole._starts(None, 6)
    state = torch.get_rng_state()
    objective = cartpole._objective(policy, starts)
    gradient = torch.autograd.grad(objective, policy.parameters())
    torch.set_rng_state(state)
    observed, right, going_on = cartpole._play(policy, starts)
    lengths = going_on.sum(0).tolist()
    assert objective.item() == pytest.approx(1 - sum(1 - 0.99**length for length in lengths) / 6, abs=1e-5)

    def to_come(episode, step):
        return sum(0.01 * 0.99**t for t in range(step, lengths[episode]))

    surrogate = torch.zeros(())
    for episode in range(6):
        for step in range(lengths[episode]):
            others = [to_come(other, step) for other in range(6) if other != episode and lengths[other] > step]
            advantage = to_come(episode, step) - (sum(others) / len(others) if others else 0)
            log_odds = policy(observed[step, episode])[0]
            log_probability = torch.nn.functional.logsigmoid(log_odds if right[step, episode] else -log_odds)
            surrogate = surrogate - advantage * log_probability / 6
    for found, wanted in zip(gradient, torch.autograd.grad(surrogate, policy.parameters()), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)


def test_cartpole_evaluation_of_a_policy_that_holds_the_pole():
    policy = torch.nn.Linear(4, 1)  # pushes to where the pole falls
    with torch.no_grad():
        policy.weight.copy_(torch.tensor([[1.0, 5.0, 100.0, 50.0]]))
        policy.bias.zero_()
        told = cartpole._evaluate(policy, None, "validation")
    assert told["mean_return"] > 450
    assert told["loss"] == pytest.approx(0.99**500, abs=0.02)


def test_without_gymnasium_its_workload_alone_is_refused_with_what_to_install(sofim, monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    code, out, _ = sofim("list")
    assert (code, "cartpole-reinforce" in out) == (0, True)
    code, out, err = sofim("launch", "quickstart", "--name", "mine", "--workloads", "poisson-pinn,cartpole-reinforce")
    assert (code, out) == (2, "")
    assert err == (
        "sofim: workload cartpole-reinforce: gymnasium is not installed; install it: pip install 'sofim-studies[rl]'\n"
    )
    with pytest.raises(UserError, match="gymnasium is not installed"):
        check(WORKLOADS["cartpole-reinforce"])
    check(WORKLOADS["poisson-pinn"])
    assert math.isfinite(run_of("poisson-pinn", "sgd").next_epoch().metric)
