"""The anomaly scenarios as real processes: reproduced on real servers and on the model of Redis,
absent from the MemoryDB reference."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.environments.local import LocalEnvironment
from harness.environments.protocol import EnvironmentOptions
from harness.targets import TargetOptions
from targets.memorydb_py.target import MemoryDB
from targets.replicated.redis_model.target import RedisModel
from targets.replicated.vanilla import Redis
from tests.support.stories import STORIES, Story, play
from tests.targets.memorydb_py.recipes import RECIPES, Recipe
from tests.targets.memorydb_py.recipes import play as play_recipe

pytestmark = pytest.mark.real


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_on_a_real_server(nothing_left: Path, any_server: Path, story: Story) -> None:
    env = LocalEnvironment(EnvironmentOptions(nodes=3, run_dir=nothing_left))
    target = Redis(env, TargetOptions(binary=str(any_server), timeout_s=5.0))
    asyncio.run(play(env, target, story))


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_on_the_model_as_real_processes(nothing_left: Path, story: Story) -> None:
    env = LocalEnvironment(EnvironmentOptions(nodes=3, run_dir=nothing_left))
    asyncio.run(play(env, RedisModel(env, TargetOptions(timeout_s=5.0)), story))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.__name__)
def test_on_the_reference(nothing_left: Path, recipe: Recipe) -> None:
    env = LocalEnvironment(EnvironmentOptions(nodes=3, run_dir=nothing_left))
    target = MemoryDB(env, TargetOptions(timeout_s=5.0))
    asyncio.run(play_recipe(env, target, recipe))
