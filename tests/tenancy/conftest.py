"""One row of every table for Alpha, for Beta and for nobody; and somebody's browser and script."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.api.conftest import Rows
from tests.conftest import Cast
from tests.processes import collect_static_files
from tests.tenancy.tables import Model, guarded_models, make_row, may_be_nobodys


@dataclass
class OneOfEach:
    """One row of each guarded table: ``alpha``, ``beta`` and, where that can be, ``nobody``, by model."""

    alpha: dict[Model, Any] = field(default_factory=dict)
    beta: dict[Model, Any] = field(default_factory=dict)
    nobody: dict[Model, Any] = field(default_factory=dict)


@pytest.fixture(scope="session", autouse=True)
def static_files() -> None:
    collect_static_files()


@pytest.fixture
def rows(cast: Cast) -> Rows:
    return Rows(cast)


@pytest.fixture
def one_of_each(cast: Cast) -> OneOfEach:
    made = OneOfEach()
    for model in guarded_models():
        if model is type(cast.alpha):
            made.alpha[model], made.beta[model] = cast.alpha, cast.beta
            continue
        made.alpha[model], made.beta[model] = make_row(model, cast.alpha), make_row(model, cast.beta)
        if may_be_nobodys(model):
            made.nobody[model] = make_row(model, None)
    return made
