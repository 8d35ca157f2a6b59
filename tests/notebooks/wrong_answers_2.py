"""Common wrong answers to the exercises of notebook 2; its checks refuse each in a sentence."""

WRONG = {
    "1": "def guess_loss(vocab_size):\n    return math.log2(vocab_size)\n",  # bits
    "2": "def masked_loss(each_word, targets, pad):\n    return each_word.mean()\n",
    "3": """
def once_each(lengths, batch_size):
    steps = len(lengths) // batch_size + 1
    return [torch.randint(len(lengths), (batch_size,)) for _ in range(steps)]
""",  # drawn with replacement
    "4": """
def clip(grads, limit):
    return [g * min(1.0, limit / float(g.norm())) for g in grads]
""",  # each tensor by itself: the direction changes
    "5": """
def stop_epoch(losses, patience):
    worse = 0
    for epoch in range(1, len(losses)):
        worse = worse + 1 if losses[epoch] > losses[epoch - 1] else 0
        if worse == patience:
            return epoch + 1
    return len(losses)
""",  # compares with the epoch before, not with the best
    "6": """
def lr_at(step, steps, peak, warmup):
    return peak * (1 + math.cos(math.pi * step / steps)) / 2
""",  # no warm-up
    "7": """
def smoothed_loss(logits, targets, eps):
    logprobs = logits.log_softmax(dim=-1)
    right = logprobs[range(len(targets)), targets]
    others = (logprobs.sum(dim=-1) - right) / (logits.shape[1] - 1)
    return -((1 - eps) * right + eps * others).mean()
""",  # spreads eps over the other words only
    "8": """
def adam(weight, grads, lr):
    mean = square = 0.0
    for g in grads:
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        weight = weight - lr * mean / (square**0.5 + 1e-8)
    return weight
""",  # no bias correction
}
