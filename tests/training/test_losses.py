"""The losses: what counts, by hand; the shares of a batch add up to it."""

import math

import pytest
import torch
import torch.nn.functional as F

from captioning.distributed import BatchShare
from captioning.models.decoder import Decoder
from captioning.training.losses import CiderReward, caption_loss, self_critical_loss
from tests.helpers import EMBED, KINDS, make, padded_captions, random_features
from vocabulary import Vocabulary

# --- cross-entropy ---------------------------------------------------------------------------


def loss_by_hand(decoder, features, captions, smoothing=0.0) -> tuple[float, int]:
    """Return loss and number of words: each caption alone, without padding, word by word."""
    total, words = 0.0, 0
    for i, caption in enumerate(captions.tolist()):
        caption = caption[: caption.index(1) + 1]
        logits = decoder(features[i : i + 1], torch.tensor([caption[:-1]]))[0]
        for row, target in zip(logits.log_softmax(dim=-1), caption[1:], strict=True):
            total -= (1 - smoothing) * row[target].item() + smoothing * row.mean().item()
            words += 1
    return total / words, words


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_the_loss_counts_words_and_end_but_neither_padding_nor_start(name, smoothing):
    decoder, features, captions = make(name), random_features(3), padded_captions()
    loss, words = caption_loss(decoder, features, captions, smoothing)
    expected, counted = loss_by_hand(decoder, features, captions, smoothing)
    assert (loss.item(), words) == (pytest.approx(expected, abs=1e-4), counted)
    wider = torch.cat([captions, torch.full((3, 4), 3)], dim=1)
    assert caption_loss(decoder, features, wider, smoothing)[0].item() == pytest.approx(
        loss.item(), abs=1e-5
    )


def test_padding_has_no_gradient():
    decoder = make("lstm")
    caption_loss(decoder, random_features(3), padded_captions())[0].backward()
    assert (decoder.word_embedding.weight.grad[3] == 0).all()  # <pad> is never read
    assert decoder.word_embedding.weight.grad[0].abs().sum() > 0  # <start> is


@torch.no_grad()
def test_words_are_projected_in_few_different_numbers():
    decoder, same, numbers = make("lstm"), make("lstm"), set()
    decoder.output.register_forward_hook(lambda *call: numbers.add(len(call[-1])))
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        lengths = torch.randint(2, 20, (30,), generator=generator)
        captions = torch.full((30, 22), Vocabulary.pad)
        captions[:, 0] = Vocabulary.start
        for row, length in zip(captions, lengths.tolist(), strict=True):
            row[1:length] = torch.randint(4, 9, (length - 1,), generator=generator)
            row[length] = Vocabulary.end
        loss, words = caption_loss(decoder, random_features(30), captions)
        expected, counted = loss_by_hand(same, random_features(30), captions)
        assert (loss.item(), words) == (pytest.approx(expected, abs=1e-4), counted)
    assert {number % 64 for number in numbers} == {0}
    assert len(numbers) < 6


@torch.no_grad()
def test_the_attention_penalty_by_hand():
    decoder, features, captions = make("attention"), random_features(3), padded_captions()
    plain, _ = caption_loss(decoder, features, captions)
    penalized, _ = caption_loss(decoder, features, captions, attention_penalty=2.0)
    _, attention = decoder.hidden_states(features, captions[:, :-1])
    lengths = [3, 6, 4]
    squares = [(1 - attention[i, :n].sum(dim=0)).square().mean() for i, n in enumerate(lengths)]
    torch.testing.assert_close(penalized, plain + 2.0 * sum(squares) / 3)


class Parrot(Decoder):
    """Always predicts word 5, and keeps the captions that it was given."""

    def __init__(self):
        super().__init__(9, 9, 9, False)
        self.read = []

    def hidden_states(self, features, captions):
        self.read.append(captions)
        hidden = torch.zeros(*captions.shape, 9)
        hidden[..., 5] = 9.0
        return hidden, None


@torch.no_grad()
def test_scheduled_sampling_replaces_inputs_by_the_models_own_words():
    torch.manual_seed(0)
    decoder = Parrot()
    decoder.output.weight.copy_(torch.eye(9))
    captions = torch.tensor([[0, 4, 6, 7, 8, 4, 1, 3]] * 200)
    caption_loss(decoder, torch.zeros(200, 1, 9), captions, scheduled_sampling=0.3)
    read = decoder.read[-1]
    assert (read[:, 0] == 0).all()
    own = read[:, 1:6] == 5
    assert 0.25 < own.float().mean() < 0.35
    assert torch.equal(read[:, 1:6][~own], captions[:, 1:6][~own])
    assert not (read[:, 7:] == 5).any()


def test_the_loss_of_an_untrained_model_is_that_of_guessing():
    decoder = make("lstm", vocab_size=200, scale=0.1)
    loss, _ = caption_loss(decoder, random_features(3), padded_captions())
    assert loss.item() == pytest.approx(math.log(200), rel=0.02)
    assert F.cross_entropy(torch.zeros(1, 200), torch.tensor([7])) == pytest.approx(math.log(200))


@pytest.mark.parametrize("kind", ["lstm", "attention", "transformer"])
def test_losses_and_gradients_of_shares_add_up_to_those_of_the_batch(kind):
    options = {"label_smoothing": 0.1, "attention_penalty": 2.0}
    decoder, features, captions = make(kind), random_features(3), padded_captions()
    parameters = list(decoder.parameters())
    loss, words = caption_loss(decoder, features, captions, **options)
    expected = torch.autograd.grad(loss, parameters, allow_unused=True)
    total, sums = 0.0, [torch.zeros_like(p) for p in parameters]
    for rank in range(2):
        mine = captions[rank::2]
        share = BatchShare((mine[:, 1:] != 3).sum().item() / words, len(mine) / len(captions))
        part, _ = caption_loss(decoder, features[rank::2], mine, **options, share=share)
        total += part.item()
        gradients = torch.autograd.grad(part, parameters, allow_unused=True)
        for summed, gradient in zip(sums, gradients, strict=True):
            summed += 0 if gradient is None else gradient
    assert total == pytest.approx(loss.item(), abs=1e-5)
    for summed, gradient in zip(sums, expected, strict=True):
        wanted = torch.zeros_like(summed) if gradient is None else gradient
        torch.testing.assert_close(summed, wanted)


def test_a_process_without_a_share_adds_nothing():
    features = random_features(1)[:0].requires_grad_()
    loss, words = caption_loss(make("attention"), features, padded_captions()[:0])
    assert (loss.item(), words) == (0.0, 0)
    loss.backward()


# --- CIDEr as reward -------------------------------------------------------------------------


@pytest.fixture
def vocab() -> Vocabulary:
    return Vocabulary(["<start>", "<end>", "<unk>", "<pad>", "a", "red", "blue", "ball", "box"])


def test_the_reward_prefers_the_true_caption_and_a_clean_end(vocab):
    reward = CiderReward({1: ["a red ball", "red ball"], 2: ["a blue box", "blue box"]}, vocab)
    true, cut, wrong = [4, 5, 7, 1], [4, 5, 7, 3], [4, 6, 8, 1]  # `cut` has no <end>
    rewards = reward([1], torch.tensor([true, cut, wrong]), samples_per_image=3)
    assert rewards.shape == (1, 3)
    assert rewards[0, 0] > rewards[0, 1] > rewards[0, 2]


def test_samples_are_scored_against_their_own_photo(vocab):
    reward = CiderReward({1: ["a red ball"], 2: ["a blue box"]}, vocab)
    words = torch.tensor([[4, 5, 7, 1], [4, 6, 8, 1]] * 2)
    rewards = reward([1, 2], words, samples_per_image=2)
    assert rewards[0, 0] > rewards[0, 1]
    assert rewards[1, 1] > rewards[1, 0]


def test_equal_rewards_have_no_gradient():
    decoder = make("lstm")
    features, words = torch.randn(2, 1, EMBED), torch.randint(4, 9, (4, 5))
    loss, _ = self_critical_loss(decoder, features, words, torch.full((2, 2), 0.7))
    loss.backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e-7 for p in decoder.parameters())


def test_a_step_makes_the_better_sample_more_likely_and_the_worse_one_less():
    decoder = make("lstm")
    features = torch.randn(1, 1, EMBED)
    words = torch.tensor([[4, 5, 7, 1], [4, 6, 8, 1]])

    def log_p() -> torch.Tensor:
        captions = torch.cat([torch.zeros(2, 1, dtype=torch.long), words], dim=1)
        logprobs = decoder(features, captions[:, :-1]).log_softmax(dim=-1)
        return logprobs.gather(-1, words[..., None]).sum(dim=(1, 2)).detach()

    before = log_p()
    optimizer = torch.optim.SGD(decoder.parameters(), lr=0.01)
    self_critical_loss(decoder, features, words, torch.tensor([[1.0, 0.0]]))[0].backward()
    optimizer.step()
    change = log_p() - before
    assert change[0] > 0 > change[1]


def test_padding_after_the_end_does_not_change_the_loss():
    decoder = make("lstm")
    features, words = torch.randn(1, 1, EMBED), torch.tensor([[4, 5, 7, 1], [4, 6, 8, 1]])
    rewards = torch.tensor([[1.0, 0.0]])
    padded = torch.nn.functional.pad(words, (0, 3), value=Vocabulary.pad)
    short, long = (self_critical_loss(decoder, features, w, rewards) for w in (words, padded))
    torch.testing.assert_close(short, long)


def test_words_that_are_never_drawn_have_no_gradient():
    decoder, features = make("lstm"), random_features(2)
    words = torch.tensor([[4, 5, 7, 1], [4, 6, 8, 1]] * 2)
    rewards = torch.tensor([[0.0, 1.0], [0.5, 0.2]])
    self_critical_loss(decoder, features, words, rewards)[0].backward()
    gradient = decoder.output.bias.grad
    assert (gradient[[Vocabulary.start, Vocabulary.pad]] == 0).all()
    assert gradient[5].abs() > 0
