"""Schedules, and the two ways of watching for divergence: both see the same."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from studies.training.divergence import EXPLOSION, LaggedWatch, PromptWatch, explosion_limit
from studies.training.randomness import GlobalGenerators, Stream, stream_seed
from studies.training.schedules import SCHEDULES, SHAPES, schedule_of


class TestSchedules:
    @given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 500))
    def test_every_factor_is_above_0_and_at_most_1(self, name, num_steps):
        factors = [SCHEDULES[name](step, num_steps) for step in range(num_steps)]
        assert all(0 < factor <= 1 for factor in factors)

    @given(st.integers(1, 500))
    def test_cosine_falls_from_1_and_constant_stays(self, num_steps):
        factors = [SCHEDULES["cosine"](step, num_steps) for step in range(num_steps)]
        assert factors[0] == 1
        assert factors == sorted(factors, reverse=True)
        assert {SCHEDULES["constant"](step, num_steps) for step in range(num_steps)} == {1.0}

    @pytest.mark.parametrize("name", ["constant", "cosine"])
    def test_warm_up_rises_over_a_twentieth_and_then_follows(self, name):
        factors = [SCHEDULES[f"{name}+warmup"](step, 200) for step in range(200)]
        assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
        assert factors[10:] == [SCHEDULES[name](step, 190) for step in range(190)]


losses = st.lists(st.tuples(st.floats(width=32), st.integers(1, 100)), min_size=1, max_size=20)


class TestWatches:
    @given(losses, st.none() | st.floats(-1e6, 1e6))
    def test_lagged_and_prompt_watch_agree(self, sequence, initial):
        """On a CPU a copy arrives at once, so that both stop at the same step."""
        prompt, lagged = PromptWatch(initial), LaggedWatch(initial, torch.device("cpu"))
        for value, num in sequence:
            loss = torch.tensor(value, dtype=torch.float64)
            stop = prompt.add(loss, num)
            assert lagged.add(loss, num) == stop
            if stop:
                break
        mean, first, diverged = prompt.close()
        lagged_mean, lagged_first, lagged_diverged = lagged.close()
        assert lagged_diverged == diverged
        assert lagged_first == first or (math.isnan(first) and math.isnan(lagged_first))
        if not diverged:
            assert lagged_mean == pytest.approx(mean, rel=1e-9, abs=1e-300)

    @pytest.mark.parametrize("make", [PromptWatch, lambda initial: LaggedWatch(initial, torch.device("cpu"))])
    def test_limit(self, make):
        watch = make(None)
        assert not watch.add(torch.tensor(2.0), 1)
        assert not watch.add(torch.tensor(2 * EXPLOSION), 1)
        assert watch.add(torch.tensor(2.001 * EXPLOSION), 1)
        assert watch.close()[2]

    def test_limit_has_a_floor_and_takes_negative_losses(self):
        assert explosion_limit(0.0) == explosion_limit(1e-9) == explosion_limit(1.0) == EXPLOSION
        assert explosion_limit(-5.0) == 5 * EXPLOSION

    def test_a_lagged_verdict_is_not_lost(self):
        """While a copy is under way nothing is known; the epoch's end knows all."""

        class Slow:
            def record(self):
                pass

            def query(self):
                return False

        watch = LaggedWatch(None, torch.device("cpu"))
        watch._arrival = Slow()
        for value in (1.0, math.nan, 1.0):
            assert not watch.add(torch.tensor(value), 4)
        assert watch.close()[2]


class TestRandomness:
    def test_streams_and_epochs_differ(self):
        seeds = {stream_seed(seed, stream, epoch) for seed in range(20) for stream in Stream for epoch in range(5)}
        assert len(seeds) == 20 * len(Stream) * 5
        assert all(0 <= seed < 2**63 for seed in seeds)

    def test_a_run_s_draws_go_on_where_they_stopped(self):
        torch.manual_seed(1)
        expected_outer = torch.rand(4)
        torch.manual_seed(1)
        generators = GlobalGenerators(7, torch.device("cpu"))
        drawn, outer = [], []
        for _ in range(2):
            outer.append(torch.rand(2))
            with generators.in_use():
                drawn.append(torch.rand(2))
        assert torch.equal(torch.cat(outer), expected_outer)
        assert torch.equal(torch.cat(drawn), torch.rand(4, generator=torch.Generator().manual_seed(7)))

    def test_put_back_after_an_error(self):
        before = torch.get_rng_state()
        with pytest.raises(KeyError), GlobalGenerators(7, torch.device("cpu")).in_use():
            raise KeyError
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("warmup", [0.0, 0.01, 0.05, 0.3, 0.99])
@pytest.mark.parametrize("num_steps", [1, 2, 7, 100, 1001])
def test_a_schedule_rises_in_its_warm_up_and_never_again(name, warmup, num_steps):
    factors = [schedule_of(name, warmup)(step, num_steps) for step in range(num_steps)]
    rising = 0 if warmup == 0 else min(max(1, round(warmup * num_steps)), num_steps - 1)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[:rising] == pytest.approx([(step + 1) / rising for step in range(rising)])
    assert factors[rising] == 1.0
    assert factors[rising:] == sorted(factors[rising:], reverse=True)
    if name != "constant":
        assert factors[rising:] == pytest.approx(
            [SHAPES[name](step, num_steps - rising) for step in range(num_steps - rising)]
        )


def test_a_line_falls_by_the_same_at_every_step():
    assert [schedule_of("linear")(step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_the_names_with_a_warm_up_mean_what_they_meant():
    for name in ("constant", "cosine"):
        for step in range(40):
            assert SCHEDULES[f"{name}+warmup"](step, 40) == schedule_of(name, 0.05)(step, 40)
