"""Optimizer, schedules, the moving average of the weights, the initial scale of features."""

import pytest
import torch

from captioning.training.optim import WeightEMA, data_dependent_init, make_optimizer, make_schedule
from model import EncoderCNN, StandardizedLinear
from tests.helpers import make


def test_two_learning_rates(config_of, tmp_path, weights):
    config = config_of(tmp_path, fine_tune_from="layer4", lr=0.1, fine_tune_lr=0.001)
    encoder = EncoderCNN(12, weights=str(weights), fine_tune_from="layer4")
    groups = make_optimizer(config, encoder, make("lstm")).param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.001]
    assert sum(len(group["params"]) for group in groups) == len(
        [p for m in (encoder, make("lstm")) for p in m.parameters() if p.requires_grad]
    )


@pytest.mark.parametrize(
    ("schedule", "first", "peak", "last"),
    [("constant", 1, 1, 1), ("cosine", 1, 1, 0), ("onecycle", 0.04, 1, 0)],
)
def test_schedules(config_of, tmp_path, encoder, schedule, first, peak, last):
    config = config_of(tmp_path, schedule=schedule, lr=1.0)
    optimizer = make_optimizer(config, encoder, make("lstm"))
    schedule, rates = make_schedule(config, optimizer, 50), []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    rates.append(optimizer.param_groups[0]["lr"])
    assert [rates[0], max(rates), rates[-1]] == pytest.approx([first, peak, last], abs=1e-3)


def test_the_moving_average_of_the_weights_by_hand():
    weight = torch.nn.Parameter(torch.zeros(2))
    average = WeightEMA([weight], decay=0.9)
    expected = torch.zeros(2)
    for step in range(1, 200):
        with torch.no_grad():
            weight.add_(torch.tensor([1.0, -step]))
        average.update()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    own = weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(weight.detach(), expected)
    assert torch.equal(weight, own)
    off = WeightEMA([weight], decay=0.0)
    off.update()
    with off.applied():
        assert torch.equal(weight, own)


@torch.no_grad()
def test_initialized_features_have_mean_0_and_std_1():
    torch.manual_seed(0)
    grid = torch.rand(40, 4, 6) * torch.tensor([10.0, 1.0, 0.1, 5.0, 3.0, 0.0]) + 2
    embed = StandardizedLinear(6, 5)
    data_dependent_init(embed, grid)
    features = embed(grid).flatten(0, 1)
    torch.testing.assert_close(features.mean(dim=0), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(dim=0, correction=0), torch.ones(5))


@torch.no_grad()
def test_initialization_survives_photos_that_are_all_the_same():
    embed = StandardizedLinear(6, 5)
    grid = torch.rand(1, 1, 6).expand(3, 4, 6)
    data_dependent_init(embed, grid)
    assert embed(grid).isfinite().all()


@pytest.mark.parametrize(("value", "why"), [(0.0, "all zero"), (float("nan"), "not finite")])
def test_useless_features_are_refused(value, why):
    with pytest.raises(ValueError, match=f"features of the backbone are {why}.*--weights"):
        data_dependent_init(StandardizedLinear(6, 5), torch.full((2, 3, 6), value))


def test_principal_components_share_one_scale():
    embed = StandardizedLinear(3, 2)
    data_dependent_init(embed, torch.randn(50, 1, 3) * torch.tensor([9.0, 3.0, 1.0]), is_pca=True)
    assert embed.std.unique().numel() == 1
