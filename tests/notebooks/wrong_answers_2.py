"""Answers to the exercises of notebook 2: WRONG are refused in a sentence, RIGHT are accepted."""

WRONG = {
    "1": [
        "def guess_loss(vocab_size):\n    return math.log2(vocab_size)\n",
        "def guess_loss(vocab_size):\n    return math.log10(vocab_size)\n",
        "def guess_loss(vocab_size):\n    return math.log(1 / vocab_size)\n",
        "def guess_loss(vocab_size):\n    return 1 / vocab_size\n",
        "def guess_loss(vocab_size):\n    return math.log(1024)\n",
        "def guess_loss(vocab_size):\n    return math.log(vocab_size - 1)\n",
        "def guess_loss(vocab_size):\n    return torch.zeros(vocab_size).log_softmax(0)\n",
        "def guess_loss(vocab_size):\n    return -math.log(1 // vocab_size)\n",
    ],
    "2": [
        "def masked_loss(each_word, targets, pad):\n    return each_word.mean()\n",
        """
def masked_loss(each_word, targets, pad):
    return (each_word * (targets != pad)).mean()
""",
        """
def masked_loss(each_word, targets, pad):
    return (each_word * (targets != pad)).sum()
""",
        """
def masked_loss(each_word, targets, pad):
    mask = targets != pad
    return ((each_word * mask).sum(1) / mask.sum(1)).mean()
""",  # the mean of means
        "def masked_loss(each_word, targets, pad):\n    return each_word[targets == pad].mean()\n",
        "def masked_loss(each_word, targets, pad):\n    return each_word[targets != 3].mean()\n",
        "def masked_loss(each_word, targets, pad):\n    return each_word[targets > pad].mean()\n",
        "def masked_loss(each_word, targets, pad):\n    return each_word[targets != pad]\n",
        "def masked_loss(each_word, targets, pad):\n    return each_word[each_word < 50].sum()\n",
        """
def masked_loss(each_word, targets, pad):
    return each_word[(targets != pad) & (targets != 1)].mean()
""",  # <end> left out as well
        """
def masked_loss(each_word, targets, pad):
    lengths = (targets != pad).sum(1)
    rows = zip(each_word, lengths, strict=True)
    return torch.cat([row[:length] for row, length in rows]).mean()
""",  # padding could stand anywhere
    ],
    "3": [
        """
def once_each(lengths, batch_size):
    steps = len(lengths) // batch_size + 1
    return [torch.randint(len(lengths), (batch_size,)) for _ in range(steps)]
""",  # drawn with replacement
        """
def once_each(lengths, batch_size):
    return [torch.tensor([i]) for i in lengths.argsort()]
""",  # one caption a batch
        """
def once_each(lengths, batch_size):
    return list(torch.arange(len(lengths)).split(batch_size))
""",  # not sorted
        """
def once_each(lengths, batch_size):
    return list(lengths.sort().values.split(batch_size))
""",  # lengths instead of indices
        """
def once_each(lengths, batch_size):
    order = lengths.argsort()
    steps = len(lengths) // batch_size
    return [order[i * batch_size : (i + 1) * batch_size] for i in range(steps)]
""",  # the last batch is lost
        """
def once_each(lengths, batch_size):
    return list(lengths.argsort().split(len(lengths) // batch_size))
""",
        "def once_each(lengths, batch_size):\n    return [lengths.argsort()]\n",
        "def once_each(lengths, batch_size):\n    return lengths.argsort()\n",
        "def once_each(lengths, batch_size):\n    return lengths.argsort().tolist()\n",
        """
def once_each(lengths, batch_size):
    return list(torch.randperm(len(lengths)).split(batch_size))
""",
        """
def once_each(lengths, batch_size):
    return [(lengths == n).nonzero().flatten() for n in lengths.unique()]
""",  # one batch for each length
        "def once_each(lengths, batch_size):\n    return []\n",
    ],
    "4": [
        """
def clip(grads, limit):
    return [g * min(1.0, limit / float(g.norm())) for g in grads]
""",  # each tensor by itself: the direction changes
        "def clip(grads, limit):\n    return [g.clamp(-limit, limit) for g in grads]\n",
        """
def clip(grads, limit):
    length = torch.cat([g.flatten() for g in grads]).norm()
    return [g * limit / length for g in grads]
""",  # a short gradient grows
        """
def clip(grads, limit):
    length = math.sqrt(sum(float(g.square().sum()) for g in grads))
    return [g * min(1.0, limit / length) for g in grads]
""",  # zeros
        """
def clip(grads, limit):
    length = torch.cat([g.flatten() for g in grads]).norm()
    return [g / length * length.clamp(max=limit) for g in grads]
""",  # zeros, in silence
        """
def clip(grads, limit):
    length = sum(float(g.norm()) for g in grads)
    return [g * limit / max(length, limit) for g in grads]
""",  # the sum of the lengths
        """
def clip(grads, limit):
    length = sum(float(g.square().sum()) for g in grads)
    return [g * limit / max(length, limit) for g in grads]
""",  # no root
        """
def clip(grads, limit):
    largest = max(float(g.abs().max()) for g in grads)
    return [g * limit / max(largest, limit) for g in grads]
""",  # the largest element
        """
def clip(grads, limit):
    length = math.sqrt(sum(float(g.square().sum()) for g in grads))
    return [g / max(length, 1.0) for g in grads]
""",  # a limit of 1, whatever is given
        "def clip(grads, limit):\n    return grads\n",
        "def clip(grads, limit):\n    return torch.cat([g.flatten() for g in grads])\n",
    ],
    "5": [
        """
def stop_epoch(losses, patience):
    worse = 0
    for epoch in range(1, len(losses)):
        worse = worse + 1 if losses[epoch] > losses[epoch - 1] else 0
        if worse == patience:
            return epoch + 1
    return len(losses)
""",  # compares with the epoch before, not with the best
        """
def stop_epoch(losses, patience):
    for epoch in range(patience, len(losses)):
        if losses[epoch] >= losses[epoch - patience]:
            return epoch + 1
    return len(losses)
""",  # compares with `patience` epochs ago
        "def stop_epoch(losses, patience):\n    return losses.index(min(losses)) + 1\n",
        """
def stop_epoch(losses, patience):
    return min(losses.index(min(losses)) + 1 + patience, len(losses))
""",  # the best of all epochs, the later ones included
        """
def stop_epoch(losses, patience):
    best, bad = math.inf, 0
    for epoch, loss in enumerate(losses, 1):
        if loss < best:
            best = loss
        else:
            bad += 1
        if bad == patience:
            return epoch
    return len(losses)
""",  # never sets the count back
        """
def stop_epoch(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss <= losses[best]:
            best = epoch
        if epoch - best >= patience:
            return epoch + 1
    return len(losses)
""",  # an equal loss counts as better
        """
def stop_epoch(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            return epoch
    return len(losses) - 1
""",  # counts from 0
        """
def stop_epoch(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best > patience:
            return epoch + 1
    return len(losses)
""",  # one epoch late
        """
def stop_epoch(losses, patience):
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            return best + 1
    return len(losses)
""",  # the best epoch
        """
def stop_epoch(losses, patience):
    for epoch, loss in enumerate(losses, 1):
        if loss > min(losses[:epoch]):
            return epoch + patience - 1
""",  # nothing is returned while the loss falls: the second call shows it
    ],
    "6": [
        """
def lr_at(step, steps, peak, warmup):
    return peak * (1 + math.cos(math.pi * step / steps)) / 2
""",  # no warm-up
        """
def lr_at(step, steps, peak, warmup):
    if step < warmup:
        return peak * step / warmup
    return peak * (steps - step) / (steps - warmup)
""",  # a line
        """
def lr_at(step, steps, peak, warmup):
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + math.cos(math.pi * step / steps)) / 2
""",  # a jump at the end of the warm-up
        """
def lr_at(step, steps, peak, warmup):
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    return peak * (1 + math.cos(math.pi * done)) / 2
""",  # begins at step 1
        """
def lr_at(step, steps, peak, warmup):
    if step < warmup:
        return step / warmup
    done = (step - warmup) / (steps - warmup)
    return (1 + math.cos(math.pi * done)) / 2
""",  # a peak of 1
        """
def lr_at(step, steps, peak, warmup):
    if step < warmup:
        return peak * step / warmup
    return peak * math.cos(math.pi / 2 * (step - warmup) / (steps - warmup))
""",  # a quarter of a wave
        """
def lr_at(step, steps, peak, warmup):
    if step < warmup:
        return peak * step / warmup
    done = (step - warmup) / steps
    return peak * (1 + math.cos(math.pi * done)) / 2
""",
        """
def lr_at(step, steps, peak, warmup):
    if step < warmup:
        return peak * step / warmup
    done = (step - warmup) / (steps - warmup)
    return peak * (1 - 3 * done**2 + 2 * done**3)
""",  # a polynomial that looks much like it
        """
def lr_at(step, steps, peak, warmup):
    if step < warmup:
        return peak * step / warmup
""",
    ],
    "7": [
        """
def smoothed_loss(logits, targets, eps):
    logprobs = logits.log_softmax(dim=-1)
    right = logprobs[range(len(targets)), targets]
    others = (logprobs.sum(dim=-1) - right) / (logits.shape[1] - 1)
    return -((1 - eps) * right + eps * others).mean()
""",  # spreads eps over the other words only
        "def smoothed_loss(logits, targets, eps):\n    return F.cross_entropy(logits, targets)\n",
        """
def smoothed_loss(logits, targets, eps):
    return F.cross_entropy(logits, targets, label_smoothing=1 - eps)
""",
        """
def smoothed_loss(logits, targets, eps):
    return F.cross_entropy(logits, targets, label_smoothing=eps, reduction="sum")
""",
        """
def smoothed_loss(logits, targets, eps):
    return F.cross_entropy(logits, targets, label_smoothing=eps, reduction="none")
""",
        """
def smoothed_loss(logits, targets, eps):
    logprobs = logits.log_softmax(dim=-1)
    right = logprobs[range(len(targets)), targets]
    return ((1 - eps) * right + eps * logprobs.mean(dim=-1)).mean()
""",  # the sign
        """
def smoothed_loss(logits, targets, eps):
    logprobs = logits.log_softmax(dim=-1)
    right = logprobs[range(len(targets)), targets]
    return -((1 - eps) * right + eps * logprobs.sum(dim=-1)).mean()
""",  # eps for each word
        """
def smoothed_loss(logits, targets, eps):
    return F.cross_entropy(logits, targets, label_smoothing=0.1)
""",
        """
def smoothed_loss(logits, targets, eps):
    right = logits[range(len(targets)), targets]
    return -((1 - eps) * right + eps * logits.mean(dim=-1)).mean()
""",  # no softmax
        """
def smoothed_loss(logits, targets, eps):
    goal = torch.full_like(logits, eps / logits.shape[1])
    goal[range(len(targets)), targets] += 1 - eps
    return F.kl_div(logits.log_softmax(-1), goal, reduction="batchmean")
""",  # a divergence: the entropy of the targets is missing
    ],
    "8": [
        """
def adam(weight, grads, lr):
    mean = square = 0.0
    for g in grads:
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        weight = weight - lr * mean / (square**0.5 + 1e-8)
    return weight
""",  # no bias correction
        """
def adam(weight, grads, lr):
    for g in grads:
        weight = weight - lr * g
    return weight
""",  # plain descent
        """
def adam(weight, grads, lr):
    mean = square = 0.0
    for step, g in enumerate(grads):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        root = (square / (1 - 0.999**step)) ** 0.5
        weight = weight - lr * mean / (1 - 0.9**step) / (root + 1e-8)
    return weight
""",  # steps from 0
        """
def adam(weight, grads, lr):
    mean = square = 0.0
    for step, g in enumerate(grads, 1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        root = (square / (1 - 0.999**step)) ** 0.5
        weight = weight + lr * mean / (1 - 0.9**step) / (root + 1e-8)
    return weight
""",  # uphill
        """
def adam(weight, grads, lr):
    mean = square = 0.0
    for step, g in enumerate(grads, 1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        root = square / (1 - 0.999**step)
        weight = weight - lr * mean / (1 - 0.9**step) / (root + 1e-8)
    return weight
""",  # no root
        """
def adam(weight, grads, lr):
    mean = square = 0.0
    for step, g in enumerate(grads, 1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        root = (square / (1 - 0.999**step) + 1e-8) ** 0.5
        weight = weight - lr * mean / (1 - 0.9**step) / root
    return weight
""",  # eps under the root
        """
def adam(weight, grads, lr):
    mean = square = 0.0
    for step, g in enumerate(grads, 1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        root = (square / (1 - 0.999**step)) ** 0.5
        weight = weight - lr * mean / (1 - 0.9**step) / root
    return weight
""",  # no eps
        """
def adam(weight, grads, lr):
    mean = square = 0.0
    for g in grads:
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        weight = weight - lr * (mean / 0.1) / ((square / 0.001) ** 0.5 + 1e-8)
    return weight
""",  # the correction of the first step at each step
        """
def adam(weight, grads, lr):
    mean = square = 0.0
    for step, g in enumerate(grads, 1):
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        root = torch.sqrt(square / (1 - 0.999**step))
        weight = weight - lr * mean / (1 - 0.9**step) / (root + 1e-8)
    return weight
""",  # fails for plain numbers
        "def adam(weight, grads, lr):\n    return [weight - lr * g for g in grads]\n",
    ],
    "9": [
        "def lcs(a, b):\n    return len(set(a) & set(b))\n",
        "def lcs(a, b):\n    return (Counter(a) & Counter(b)).total()\n",
        "def lcs(a, b):\n    return sum(x == y for x, y in zip(a, b))\n",
        """
def lcs(a, b):
    found, start = 0, 0
    for word in a:
        if word in b[start:]:
            start = b.index(word, start) + 1
            found += 1
    return found
""",  # takes the first match
        """
def lcs(a, b):
    longest = 0
    for i in range(len(a)):
        for j in range(i + 1, len(a) + 1):
            if any(b[k : k + j - i] == a[i:j] for k in range(len(b))):
                longest = max(longest, j - i)
    return longest
""",  # without gaps
        """
import difflib


def lcs(a, b):
    blocks = difflib.SequenceMatcher(None, a, b).get_matching_blocks()
    return sum(block.size for block in blocks)
""",  # greedy for the longest run
        """
def lcs(a, b):
    if not a or not b:
        return []
    if a[-1] == b[-1]:
        return [*lcs(a[:-1], b[:-1]), a[-1]]
    return max(lcs(a[:-1], b), lcs(a, b[:-1]), key=len)
""",  # the words instead of their number
        """
def lcs(a, b):
    if a[-1] == b[-1]:
        return 1 + lcs(a[:-1], b[:-1])
    return max(lcs(a[:-1], b), lcs(a, b[:-1]))
""",  # no end
        """
def lcs(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        for j, y in enumerate(b):
            row[j + 1] = row[j] + 1 if x == y else max(row[j], row[j + 1])
    return row[-1]
""",  # a row that overwrites what it still needs
    ],
    "10": [
        """
def brevity_penalty(lengths, references):
    r, c = sum(map(min, references)), sum(lengths)
    return min(1.0, math.exp(1 - r / max(c, 1)))
""",  # the shortest
        """
def brevity_penalty(lengths, references):
    r, c = sum(map(max, references)), sum(lengths)
    return min(1.0, math.exp(1 - r / max(c, 1)))
""",  # the longest
        """
def brevity_penalty(lengths, references):
    pairs = zip(lengths, references)
    r, c = sum(min(ns, key=lambda n: abs(n - length)) for length, ns in pairs), sum(lengths)
    return min(1.0, math.exp(1 - r / c)) if c else 0.0
""",  # of two equally near the first
        """
def brevity_penalty(lengths, references):
    each = []
    for length, ns in zip(lengths, references):
        r = min(ns, key=lambda n: (abs(n - length), n))
        each.append(min(1.0, math.exp(1 - r / length)) if length else 0.0)
    return sum(each) / len(each)
""",  # a mean over captions
        """
def brevity_penalty(lengths, references):
    pairs = zip(lengths, references)
    r = sum(min(ns, key=lambda n: (abs(n - length), n)) for length, ns in pairs)
    return math.exp(1 - r / sum(lengths))
""",  # rewards long captions
        """
def brevity_penalty(lengths, references):
    pairs = zip(lengths, references)
    r = sum(min(ns, key=lambda n: (abs(n - length), n)) for length, ns in pairs)
    return min(1.0, math.exp(1 - r / sum(lengths)))
""",  # divides by zero
        """
def brevity_penalty(lengths, references):
    pairs = zip(lengths, references)
    r = sum(min(ns, key=lambda n: (abs(n - length), n)) for length, ns in pairs)
    return min(1.0, math.exp(1 - sum(lengths) / r))
""",  # upside down
        """
def brevity_penalty(lengths, references):
    pairs = zip(lengths, references)
    r = sum(min(ns, key=lambda n: (abs(n - length), n)) for length, ns in pairs)
    return min(1.0, sum(lengths) / r)
""",  # no exponential
        """
def brevity_penalty(lengths, references):
    r = sum(sum(ns) / len(ns) for ns in references)
    return min(1.0, math.exp(1 - r / max(sum(lengths), 1)))
""",  # the mean
        """
def brevity_penalty(lengths, references):
    short = [min(1, n / min(ns)) for n, ns in zip(lengths, references)]
    return short
""",
    ],
}

RIGHT = {
    "1": [
        "def guess_loss(vocab_size):\n    return math.log(vocab_size)\n",
        """
def guess_loss(vocab_size):
    return F.cross_entropy(torch.zeros(1, vocab_size), torch.tensor([0]))
""",
        "def guess_loss(vocab_size):\n    return -torch.ones(vocab_size).log_softmax(0)[0]\n",
        """
def guess_loss(vocab_size):
    p = 1 / vocab_size
    return sum(-p * math.log(p) for _ in range(vocab_size))
""",  # the entropy
        "def guess_loss(vocab_size):\n    return math.log2(vocab_size) * math.log(2)\n",
    ],
    "2": [
        """
def masked_loss(each_word, targets, pad):
    mask = targets != pad
    return (each_word * mask).sum() / mask.sum()
""",
        """
def masked_loss(each_word, targets, pad):
    total, count = 0.0, 0
    for losses, words in zip(each_word.tolist(), targets.tolist()):
        for loss, word in zip(losses, words):
            if word != pad:
                total, count = total + loss, count + 1
    return total / count
""",
        """
def masked_loss(each_word, targets, pad):
    return each_word.masked_fill(targets == pad, torch.nan).nanmean()
""",
        """
def masked_loss(each_word, targets, pad):
    return torch.masked_select(each_word, targets.ne(pad)).mean().item()
""",
    ],
    "3": [
        """
def once_each(lengths, batch_size):
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
""",
        """
def once_each(lengths, batch_size):
    return lengths.argsort(descending=True).split(batch_size)
""",
        """
def once_each(lengths, batch_size):
    order = lengths.sort().indices.tolist()
    batches = []
    while order:
        batches.append(torch.tensor(order[-batch_size:]))
        del order[-batch_size:]
    return batches
""",  # the short batch has the shortest captions
        """
def once_each(lengths, batch_size):
    steps = math.ceil(len(lengths) / batch_size)
    batches = list(lengths.argsort().tensor_split(steps))
    return [batches[i] for i in torch.randperm(steps)]
""",  # batches of equal size
        """
def once_each(lengths, batch_size):
    order = torch.randperm(len(lengths))
    order = order[lengths[order].argsort(stable=True)]
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
""",  # captions of equal length are shuffled
    ],
    "4": [
        """
def clip(grads, limit):
    length = torch.cat([g.flatten() for g in grads]).norm()
    factor = (limit / (length + 1e-6)).clamp(max=1.0)
    return [g * factor for g in grads]
""",
        """
def clip(grads, limit):
    squares = 0.0
    for g in grads:
        for number in g.flatten().tolist():
            squares += number**2
    if squares <= limit**2:
        return grads
    return [limit * g / math.sqrt(squares) for g in grads]
""",
        """
def clip(grads, limit):
    weights = [nn.Parameter(torch.zeros_like(g)) for g in grads]
    for weight, g in zip(weights, grads):
        weight.grad = g
    nn.utils.clip_grad_norm_(weights, limit)
    return [weight.grad for weight in weights]
""",
        """
def clip(grads, limit):
    length = math.hypot(*(g.norm().item() for g in grads))
    for g in grads:
        g.mul_(limit / max(length, limit))
    return tuple(grads)
""",  # in place
    ],
    "5": [
        """
def stop_epoch(losses, patience):
    best, bad = math.inf, 0
    for epoch, loss in enumerate(losses, 1):
        bad += 1
        if loss < best:
            best, bad = loss, 0
        if bad == patience:
            break
    return epoch
""",
        """
def stop_epoch(losses, patience):
    for epoch in range(1, len(losses) + 1):
        seen = losses[:epoch]
        if epoch - (seen.index(min(seen)) + 1) == patience:
            return epoch
    return len(losses)
""",
        """
def stop_epoch(losses, patience):
    seen = torch.tensor(losses, dtype=torch.float)
    for epoch in range(patience, len(losses)):
        if seen[: epoch + 1].argmin() == epoch - patience:
            return epoch + 1
    return torch.tensor(len(losses))
""",
        """
def stop_epoch(losses, patience, best=math.inf, bad=0, epoch=0):
    if bad == patience or not losses:
        return epoch
    if losses[0] < best:
        return stop_epoch(losses[1:], patience, losses[0], 0, epoch + 1)
    return stop_epoch(losses[1:], patience, best, bad + 1, epoch + 1)
""",  # recursion
    ],
    "6": [
        """
def lr_at(step, steps, peak, warmup):
    line = step / warmup
    wave = (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
    return peak * (line if step < warmup else wave)
""",
        """
def lr_at(step, steps, peak, warmup):
    if step <= warmup:
        return torch.linspace(0, peak, warmup + 1)[step]
    angle = torch.linspace(0, math.pi, steps - warmup + 1)[step - warmup]
    return peak * torch.cos(angle / 2) ** 2
""",
        """
def lr_at(step, steps, peak, warmup):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup)
    if step < warmup:
        return peak / warmup * step
    for _ in range(step - warmup):
        optimizer.step()
        falling.step()
    return optimizer.param_groups[0]["lr"]
""",
        """
def lr_at(step, steps, peak, warmup):
    left = (steps - step) / (steps - warmup)
    return peak * min(step / warmup, (1 - math.cos(math.pi * min(left, 1))) / 2)
""",
    ],
    "7": [
        """
def smoothed_loss(logits, targets, eps):
    return F.cross_entropy(logits, targets, label_smoothing=eps)
""",
        """
def smoothed_loss(logits, targets, eps):
    goal = (1 - eps) * F.one_hot(targets, logits.shape[1]) + eps / logits.shape[1]
    return -(goal * logits.log_softmax(-1)).sum(-1).mean()
""",
        """
def smoothed_loss(logits, targets, eps):
    total = 0.0
    for row, target in zip(logits, targets):
        logprobs = row - row.exp().sum().log()
        for word, logprob in enumerate(logprobs.tolist()):
            share = eps / len(row) + (1 - eps if word == target else 0)
            total -= share * logprob
    return total / len(targets)
""",
        """
def smoothed_loss(logits, targets, eps):
    goal = torch.full_like(logits, eps / logits.shape[1])
    goal[torch.arange(len(targets)), targets] += 1 - eps
    return F.cross_entropy(logits, goal).item()
""",
    ],
    "8": [
        """
def adam(weight, grads, lr):
    m, v, step = 0 * weight, 0 * weight, 0
    for g in grads:
        step += 1
        m = m + 0.1 * (g - m)
        v = v + 0.001 * (g**2 - v)
        m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.999**step)
        weight = weight - lr * m_hat / (v_hat**0.5 + 1e-8)
    return weight
""",
        """
def adam(weight, grads, lr):
    parameter = nn.Parameter(torch.as_tensor(weight).clone())
    optimizer = torch.optim.Adam([parameter], lr=lr)
    for g in grads:
        parameter.grad = torch.as_tensor(g)
        optimizer.step()
    return parameter.detach()
""",
        """
def adam(weight, grads, lr):
    for t in range(1, len(grads) + 1):
        ages = range(t - 1, -1, -1)
        mean = sum(0.1 * 0.9**age * g for age, g in zip(ages, grads))
        square = sum(0.001 * 0.999**age * g * g for age, g in zip(ages, grads))
        root = torch.as_tensor(square / (1 - 0.999**t)).sqrt()
        weight = weight - lr * mean / (1 - 0.9**t) / (root + 1e-8)
    return weight
""",  # the averages as sums
        """
def adam(weight, grads, lr):
    def after(steps):
        if steps == 0:
            return weight, 0.0, 0.0
        w, mean, square = after(steps - 1)
        g = grads[steps - 1]
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        root = (square / (1 - 0.999**steps)) ** 0.5
        return w - lr * mean / (1 - 0.9**steps) / (root + 1e-8), mean, square

    return after(len(grads))[0]
""",  # recursion
    ],
    "9": [
        """
def lcs(a, b):
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + lcs(a[:-1], b[:-1])
    return max(lcs(a[:-1], b), lcs(a, b[:-1]))
""",
        """
import functools


def lcs(a, b):
    @functools.cache
    def rest(i, j):
        if i == len(a) or j == len(b):
            return 0
        skipped = max(rest(i + 1, j), rest(i, j + 1))
        return max(skipped, 1 + rest(i + 1, j + 1)) if a[i] == b[j] else skipped

    return rest(0, 0)
""",
        """
from itertools import combinations


def lcs(a, b):
    kept = {c for n in range(len(b) + 1) for c in combinations(b, n)}
    return max(n for n in range(len(a) + 1) for c in combinations(a, n) if c in kept)
""",  # every subsequence
        """
def lcs(a, b):
    row = torch.zeros(len(b) + 1, dtype=torch.long)
    for word in a:
        same = torch.tensor([False] + [word == other for other in b])
        row = torch.maximum(row, (row.roll(1) + 1) * same).cummax(0).values
    return row[-1]
""",  # a row at once
    ],
    "10": [
        """
def brevity_penalty(lengths, references):
    pairs = zip(lengths, references)
    r = sum(min(ns, key=lambda n: (abs(n - length), n)) for length, ns in pairs)
    c = sum(lengths)
    if c >= r:
        return 1
    return math.exp(1 - r / c) if c else 0
""",
        """
def brevity_penalty(lengths, references):
    r = c = 0
    for length, several in zip(lengths, references):
        nearest = None
        for n in sorted(several):
            if nearest is None or abs(n - length) < abs(nearest - length):
                nearest = n
        r, c = r + nearest, c + length
    return float(c > 0) and min(1.0, math.e ** (1 - r / c))
""",
        """
def brevity_penalty(lengths, references):
    c = torch.tensor(lengths, dtype=torch.float)
    nearest = []
    for length, several in zip(lengths, references):
        ns = torch.tensor(several).sort().values
        nearest.append(ns[(ns - length).abs().argmin()])
    return (1 - torch.stack(nearest).sum() / c.sum()).exp().clamp(max=1)
""",  # exp(-inf) is 0
        """
from nltk.translate import bleu_score


def brevity_penalty(lengths, references):
    texts = [["word"] * n for n in lengths]
    pairs = zip(references, lengths)
    r = sum(bleu_score.closest_ref_length([["w"] * n for n in ns], c) for ns, c in pairs)
    return bleu_score.brevity_penalty(r, sum(map(len, texts)))
""",
    ],
}
