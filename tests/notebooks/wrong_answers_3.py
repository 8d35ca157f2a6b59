"""Answers to the exercises of notebook 3: WRONG are refused in a sentence, RIGHT are accepted."""

WRONG = {
    "1": [
        """
def penalized(logprob, length, alpha):
    return logprob * ((5 + length) / 6) ** alpha
""",
        """
def penalized(logprob, length, alpha):
    return logprob / length**alpha
""",
        """
def penalized(logprob, length, alpha):
    return logprob / (5 + length) / 6**alpha
""",
        """
def penalized(logprob, length, alpha):
    return logprob / (alpha * (5 + length) / 6)
""",  # divides by 0 for alpha 0
        """
def penalized(logprob, length, alpha):
    return -logprob / ((5 + length) / 6) ** alpha
""",
        """
def penalized(logprob, length, alpha):
    return logprob / ((5 + length) / 6)
""",  # alpha is ignored
        """
def penalized(logprob, length, alpha):
    return logprob / ((5 + length) / (5 + alpha)) ** alpha
""",
        """
def penalized(logprob, length, alpha):
    return ((5 + length) / 6) ** alpha
""",  # the penalty alone
    ],
    "2": [
        """
def top_k(probability, k):
    best = probability.topk(k)
    return torch.zeros_like(probability).scatter(-1, best.indices, best.values)
""",  # does not sum to one
        """
def top_k(probability, k):
    best = probability.topk(k).values
    return best / best.sum()
""",  # the places are lost
        """
def top_k(probability, k):
    least = probability.topk(k).values[-1]
    kept = probability.masked_fill(probability < least, -torch.inf)
    return kept.softmax(-1)
""",  # a softmax of probabilities
        """
def top_k(probability, k):
    least = probability.topk(k).values[-1]
    kept = probability * (probability >= least)
    return kept / kept.sum()
""",  # keeps all that are equal
        """
def top_k(probability, k):
    kept = probability.clone()
    kept[k:] = 0
    return kept / kept.sum()
""",  # the first k
        """
def top_k(probability, k):
    kept = probability.sort(descending=True).values
    kept[k:] = 0
    return kept / kept.sum()
""",
        """
def top_k(probability, k):
    best = probability.topk(2)
    kept = torch.zeros_like(probability).scatter(-1, best.indices, best.values)
    return kept / kept.sum()
""",  # always two
        """
def top_k(probability, k):
    least = probability.topk(k + 1).values[-1]
    kept = probability * (probability > least)
    return kept / kept.sum()
""",  # fails for all of them
        """
def top_k(probability, k):
    kept = torch.zeros_like(probability)
    kept[probability.topk(k).indices] = 1 / k
    return kept
""",  # all alike
    ],
    "3": [
        """
def caption_logprob(decoder, features, words):
    inputs = torch.tensor([[0, *words[:-1]]])
    logprobs = decoder(features, inputs)[0].log_softmax(-1)
    return logprobs[range(len(words)), words].sum()
""",  # no <end>
        """
def caption_logprob(decoder, features, words):
    inputs, targets = torch.tensor([[0, *words]]), [*words, 1]
    probability = decoder(features, inputs)[0].softmax(-1)
    return probability[range(len(targets)), targets].prod()
""",
        """
def caption_logprob(decoder, features, words):
    inputs, targets = torch.tensor([[0, *words]]), [*words, 1]
    logprobs = decoder(features, inputs)[0].log_softmax(-1)
    return logprobs[range(len(targets)), targets].mean()
""",
        """
def caption_logprob(decoder, features, words):
    inputs, targets = torch.tensor([[0, *words]]), [*words, 1]
    logits = decoder(features, inputs)[0]
    return logits[range(len(targets)), targets].sum()
""",
        """
def caption_logprob(decoder, features, words):
    inputs, targets = torch.tensor([[0, *words]]), [*words, 1]
    logprobs = decoder(features, inputs)[0].log_softmax(-1)
    return logprobs[range(len(targets)), targets]
""",  # not added up
        """
def caption_logprob(decoder, features, words):
    inputs, targets = torch.tensor([[0, *words]]), [*words, 1]
    logprobs = decoder(features, inputs)[0].log_softmax(-1)
    return logprobs[:, targets].sum()
""",  # every target at every place
        """
def caption_logprob(decoder, features, words):
    inputs, targets = torch.tensor([[*words, 1]]), [*words, 1]
    logprobs = decoder(features, inputs)[0].log_softmax(-1)
    return logprobs[range(len(targets)), targets].sum()
""",  # the input is not shifted
        """
def caption_logprob(decoder, features, words):
    logprobs = decoder(features, torch.tensor([words]))[0].log_softmax(-1)
    targets = [*words[1:], 1]
    return logprobs[range(len(targets)), targets].sum()
""",  # no <start>; a caption without words
        """
def caption_logprob(decoder, features, words):
    inputs, targets = torch.tensor([[0, *words]]), [*words, 1]
    logprobs = decoder(features, inputs)[0].log_softmax(-1)
    return -logprobs[range(len(targets)), targets].sum()
""",  # the loss
        """
def caption_logprob(decoder, features, words):
    inputs, targets = torch.tensor([[0, *words]]), [*words, 1]
    logprobs = decoder(features, inputs).log_softmax(0)[0]
    return logprobs[range(len(targets)), targets].sum()
""",  # a softmax over the batch
    ],
    "4": [
        """
def repeats(words, n):
    return any(words[i : i + n] == words[i + n : i + 2 * n] for i in range(len(words) - n))
""",  # side by side only
        """
def repeats(words, n):
    return len(set(words)) < len(words)
""",  # n is ignored
        """
def repeats(words, n):
    text = " ".join(words)
    return any(text.count(" ".join(words[i : i + n])) > 1 for i in range(len(words) - n + 1))
""",  # parts of words
        """
def repeats(words, n):
    ngrams = [tuple(words[i : i + n]) for i in range(0, len(words) - n + 1, n)]
    return len(set(ngrams)) < len(ngrams)
""",  # only each n-th place
        """
def repeats(words, n):
    ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n)]
    return len(set(ngrams)) < len(ngrams)
""",  # the last one is missing
        """
def repeats(words, n):
    ngrams = ["".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(ngrams)) < len(ngrams)
""",  # letters
        """
def repeats(words, n):
    ngrams = [words[i : i + n] for i in range(len(words) - n + 1)]
    return len(set(ngrams)) < len(ngrams)
""",  # lists cannot be in a set
        """
def repeats(words, n):
    ngrams = [frozenset(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(ngrams)) < len(ngrams)
""",  # without their order
        """
def repeats(words, n):
    ngrams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(ngrams)) == len(ngrams)
""",  # the reverse
    ],
    "5": [
        """
def interval(values):
    return np.percentile(values, [2.5, 97.5])
""",  # the values themselves
        """
def interval(values):
    error = values.std() / math.sqrt(len(values))
    return values.mean() - 1.96 * error, values.mean() + 1.96 * error
""",  # a normal curve
        """
def interval(values):
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(2000, len(values) // 2)).mean(axis=1)
    return np.percentile(means, [2.5, 97.5])
""",  # half samples
        """
def interval(values):
    rng = np.random.default_rng(0)
    means = [rng.permutation(values).mean() for _ in range(1000)]
    return np.percentile(means, [2.5, 97.5])
""",  # without replacement
        """
def interval(values):
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(2000, len(values))).mean(axis=1)
    return np.percentile(means, [5, 95])
""",
        """
def interval(values):
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(2000, len(values))).mean(axis=1)
    return values.mean() - 1.96 * means.std(), values.mean() + 1.96 * means.std()
""",  # a normal curve again
        """
def interval(values):
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(2000, len(values))).mean(axis=0)
    return np.percentile(means, [2.5, 97.5])
""",  # the wrong axis
        """
rng = np.random.default_rng(0)


def interval(values):
    means = rng.choice(values, size=(30, len(values))).mean(axis=1)
    return np.percentile(means, [2.5, 97.5])
""",  # thirty sets
        """
def interval(values):
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(2000, len(values))).mean(axis=1)
    return means
""",
        """
def interval(values):
    rng = np.random.default_rng(0)
    middles = np.median(rng.choice(values, size=(2000, len(values))), axis=1)
    return np.percentile(middles, [2.5, 97.5])
""",  # medians
        """
def interval(values):
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(2000, len(values))).mean(axis=1)
    return np.percentile(means, [97.5, 2.5])
""",  # high, low
        """
def interval(values):
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(2000, len(values))).mean(axis=1)
    return np.percentile(means, [0.025, 0.975])
""",  # fractions as percentages
    ],
    "6": [
        """
def consensus(captions):
    return max(captions, key=len)
""",
        """
def consensus(captions):
    return min(captions, key=len)
""",
        """
def consensus(captions):
    return captions[0]
""",
        """
def consensus(captions):
    def best_match(i):
        return metrics.rouge_l(captions[:i] + captions[i + 1 :], captions[i])

    return captions[max(range(len(captions)), key=best_match)]
""",  # the best match instead of the mean
        """
def consensus(captions):
    def agreement(caption):
        return sum(metrics.rouge_l([other], caption) for other in captions if other != caption)

    return max(captions, key=agreement)
""",  # twins do not count
        """
def consensus(captions):
    def agreement(i):
        others = captions[:i] + captions[i + 1 :]
        return sum(metrics.rouge_l([captions[i]], other) for other in others)

    return captions[max(range(len(captions)), key=agreement)]
""",  # reference and caption exchanged
        """
def consensus(captions):
    def agreement(i):
        others = captions[:i] + captions[i + 1 :]
        return sum(metrics.rouge_l([other], captions[i]) for other in others)

    return max(range(len(captions)), key=agreement)
""",  # its number
        """
def consensus(captions):
    def agreement(i):
        others = captions[:i] + captions[i + 1 :]
        return sum(metrics.rouge_l([other], captions[i]) for other in others)

    return captions[min(range(len(captions)), key=agreement)]
""",  # the least
        """
def consensus(captions):
    def agreement(caption):
        others = [other.split() for other in captions]
        return sum(len(set(caption.split()) & set(other)) for other in others)

    return max(captions, key=agreement)
""",  # common words
        """
def consensus(captions):
    return max(captions, key=lambda caption: metrics.rouge_l(captions, caption))
""",  # each agrees with itself
    ],
    "7": [
        """
def covered(picture, box):
    pixels, (x, y, width, height) = np.array(picture), box
    pixels[x : x + width, y : y + height] = pixels.mean(axis=(0, 1))
    return Image.fromarray(pixels)
""",  # rows are y
        """
def covered(picture, box):
    pixels, (x, y, width, height) = np.array(picture), box
    pixels[y : y + height, x : x + width] = pixels.mean()
    return Image.fromarray(pixels)
""",  # gray
        """
def covered(picture, box):
    pixels, (x, y, width, height) = np.array(picture), box
    pixels[y : y + height, x : x + width] = 0
    return Image.fromarray(pixels)
""",  # black
        """
def covered(picture, box):
    pixels, (x, y, right, bottom) = np.array(picture), box
    pixels[y:bottom, x:right] = pixels.mean(axis=(0, 1))
    return Image.fromarray(pixels)
""",  # corners
        """
def covered(picture, box):
    pixels, (x, y, width, height) = np.array(picture), box
    inside = pixels[y : y + height, x : x + width]
    inside[:] = inside.mean(axis=(0, 1))
    return Image.fromarray(pixels)
""",  # the mean of the box
        """
def covered(picture, box):
    pixels, (x, y, width, height) = np.array(picture), box
    pixels[y : y + height, x : x + width] = pixels.mean(axis=(0, 1))
    return pixels
""",  # an array
        """
def covered(picture, box):
    pixels, (x, y, width, height) = np.asarray(picture), box
    pixels[y : y + height, x : x + width] = pixels.mean(axis=(0, 1))
    return Image.fromarray(pixels)
""",  # not writable
        """
def covered(picture, box):
    x, y, width, height = box
    mean = tuple(int(c) for c in np.array(picture).mean(axis=(0, 1)))
    picture.paste(mean, (x, y, x + width, y + height))
    return picture
""",  # the original
        """
def covered(picture, box):
    pixels, (x, y, width, height) = np.array(picture), box
    pixels[y : y + height + 1, x : x + width + 1] = pixels.mean(axis=(0, 1))
    return Image.fromarray(pixels)
""",  # one too many
        """
def covered(picture, box):
    x, y, width, height = box
    return picture.crop((x, y, x + width, y + height))
""",
    ],
    "8": [
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        first, second = self.first.start(features[0]), self.second.start(features[1])
        self.parts = len(first)
        return (*first, *second)

    def step(self, word, state):
        a, first, _ = self.first.step(word, state[: self.parts])
        b, second, attention = self.second.step(word, state[self.parts :])
        return (a + b) / 2, (*first, *second), attention
""",  # the mean of logits
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        first, second = self.first.start(features[0]), self.second.start(features[1])
        self.parts = len(first)
        return (*first, *second)

    def step(self, word, state):
        a, first, _ = self.first.step(word, state[: self.parts])
        b, second, attention = self.second.step(word, state[self.parts :])
        return (a.softmax(-1) + b.softmax(-1)) / 2, (*first, *second), attention
""",  # probabilities
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        first, second = self.first.start(features[0]), self.second.start(features[1])
        self.parts = len(first)
        return (*first, *second)

    def step(self, word, state):
        a, _, _ = self.first.step(word, state[: self.parts])
        b, _, attention = self.second.step(word, state[self.parts :])
        return (a.softmax(-1) + b.softmax(-1)).log(), state, attention
""",  # always the first state
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        self.states = self.first.start(features[0]), self.second.start(features[1])
        return self.states[0]

    def step(self, word, state):
        a, first, _ = self.first.step(word, self.states[0])
        b, second, attention = self.second.step(word, self.states[1])
        self.states = first, second
        return (a.softmax(-1) + b.softmax(-1)).log(), first, attention
""",  # keeps the state to itself
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        return self.first.start(features[0]), self.second.start(features[1])

    def step(self, word, state):
        a, first, _ = self.first.step(word, state[0])
        b, second, attention = self.second.step(word, state[1])
        return (a.softmax(-1) + b.softmax(-1)).log(), (first, second), attention
""",  # two tuples in a tuple
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        return (*self.first.start(features[0]), *self.second.start(features[1]))

    def step(self, word, state):
        a, first, _ = self.first.step(word, state[:2])
        b, second, attention = self.second.step(word, state[2:])
        return (a.softmax(-1) + b.softmax(-1)).log(), (*first, *second)
""",  # two results
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        first, second = self.first.start(features[0]), self.second.start(features[1])
        self.parts = len(first)
        return (*first, *second)

    def step(self, word, state):
        a, first, _ = self.first.step(word, state[: self.parts])
        b, second, attention = self.second.step(word, state[self.parts :])
        logprobs = torch.maximum(a.log_softmax(-1), b.log_softmax(-1))
        return logprobs, (*first, *second), attention
""",  # the larger one
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        return [*self.first.start(features[0]), *self.second.start(features[1])]

    def step(self, word, state):
        return self.first.step(word, state)
""",  # a list, and one decoder
        """
class Vote:
    def __init__(self, decoders):
        self.first, self.second = decoders
""",  # one argument
    ],
    "9": [
        """
def auc(above, below):
    return sum(a > b for a in above for b in below) / (len(above) * len(below))
""",  # equal ones count nothing
        """
def auc(above, below):
    return sum(a >= b for a in above for b in below) / (len(above) * len(below))
""",  # equal ones count fully
        """
def auc(above, below):
    return np.mean([a > b for a, b in zip(above, below)])
""",  # neighbors only
        """
def auc(above, below):
    return float(np.mean(above) > np.mean(below))
""",
        """
def auc(above, below):
    return np.mean(above) - np.mean(below)
""",
        """
def auc(above, below):
    return sum((a > b) + (a == b) / 2 for a in above for b in below)
""",  # not divided
        """
def auc(above, below):
    total = sum((a < b) + (a == b) / 2 for a in above for b in below)
    return total / (len(above) * len(below))
""",  # the reverse
        """
def auc(above, below):
    return np.mean(np.array(above) > np.array(below))
""",  # shapes that do not fit
        """
def auc(above, below):
    middle = np.median([*above, *below])
    return (np.mean(np.array(above) >= middle) + np.mean(np.array(below) < middle)) / 2
""",  # one threshold
        """
def auc(above, below):
    return [(a > b) + (a == b) / 2 for a in above for b in below]
""",
    ],
    "10": [
        """
def sides(attention):
    light = attention.view(-1, 2, 11, 11).sum(1)
    return torch.stack([light[..., :5].sum((1, 2)), light[..., 6:].sum((1, 2))], dim=1)
""",  # the mirror image is not mirrored back
        """
def sides(attention):
    light = attention[:, :121].view(-1, 11, 11)
    return torch.stack([light[..., :5].sum((1, 2)), light[..., 6:].sum((1, 2))], dim=1)
""",  # the photo's own grid alone
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = grids[:, ::2].sum(1) + grids[:, 1::2].sum(1).flip(-1)
    return torch.stack([light[:, :5].sum((1, 2)), light[:, 6:].sum((1, 2))], dim=1)
""",  # upper and lower half
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = grids[:, ::2].sum(1) + grids[:, 1::2].sum(1).flip(1)
    return torch.stack([light[..., :5].sum((1, 2)), light[..., 6:].sum((1, 2))], dim=1)
""",  # flips the rows
        """
def sides(attention):
    return torch.stack([attention[:, :242].sum(1), attention[:, 242:].sum(1)], dim=1)
""",  # the photo and the larger photo
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = grids[:, ::2].sum(1) + grids[:, 1::2].sum(1).flip(-1)
    return torch.stack([light[..., :5].mean((1, 2)), light[..., 6:].mean((1, 2))], dim=1)
""",  # means
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = grids[:, ::2].sum(1) + grids[:, 1::2].sum(1).flip(-1)
    return light[..., :5].sum((1, 2)), light[..., 6:].sum((1, 2))
""",  # a row for each side: T and 2 are exchanged
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = grids[:, ::2].sum(1) + grids[:, 1::2].sum(1).flip(-1)
    return light[..., :5].sum((1, 2))
""",  # the left only
        """
def sides(attention):
    light = attention.view(-1, 11, 44)
    return torch.stack([light[..., :22].sum((1, 2)), light[..., 22:].sum((1, 2))], dim=1)
""",  # as if the grids stood side by side
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = grids[:, :2].sum(1) + grids[:, 2:].sum(1).flip(-1)
    return torch.stack([light[..., :5].sum((1, 2)), light[..., 6:].sum((1, 2))], dim=1)
""",  # the larger ones for the mirrored ones
        """
def sides(attention):
    grids = attention[:, :242].view(-1, 2, 11, 11)
    light = grids[:, 0] + grids[:, 1].flip(-1)
    return torch.stack([light[..., :5].sum((1, 2)), light[..., 6:].sum((1, 2))], dim=1)
""",  # the first two grids alone
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = (grids[:, ::2].sum(1) + grids[:, 1::2].sum(1).flip(-1)) / 2
    return torch.stack([light[..., :5].sum((1, 2)), light[..., 6:].sum((1, 2))], dim=1)
""",  # halved
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = grids[:, ::2].sum(1) + grids[:, 1::2].sum(1).flip(-1)
    return torch.stack([light[..., :5].sum((1, 2)), light[..., 5:].sum((1, 2))], dim=1)
""",  # the middle column is on the right
        """
def sides(attention):
    grids = attention.view(-1, 4, 11, 11)
    light = grids[:, ::2].sum(1) + grids[:, 1::2].sum(1).flip(-1)
    return torch.stack([light[..., :4].sum((1, 2)), light[..., 7:].sum((1, 2))], dim=1)
""",  # four columns a side
    ],
}

RIGHT = {
    "1": [
        """
def penalized(logprob, length, alpha):
    return logprob * (6 / (5 + length)) ** alpha
""",
        """
def penalized(logprob, length, alpha):
    return logprob / math.exp(alpha * math.log((5 + length) / 6))
""",
        """
def penalized(logprob, length, alpha):
    return torch.tensor(logprob) / ((torch.tensor(length) + 5) / 6).pow(alpha)
""",
        """
def penalized(logprob, length, alpha):
    return np.float32(logprob * 6**alpha / (5 + length) ** alpha)
""",
    ],
    "2": [
        """
def top_k(probability, k):
    order = sorted(range(len(probability)), key=lambda i: -probability[i])
    total = sum(probability[i] for i in order[:k])
    kept = [0.0] * len(probability)
    for i in order[:k]:
        kept[i] = float(probability[i] / total)
    return kept
""",  # a list
        """
def top_k(probability, k):
    rest = probability.argsort(descending=True)[k:]
    probability[rest] = 0
    return probability / probability.sum()
""",  # in place
        """
def top_k(probability, k):
    logits = torch.full_like(probability, -torch.inf)
    best = probability.topk(k)
    logits[best.indices] = best.values.log()
    return logits.softmax(-1)
""",
        """
def top_k(probability, k):
    numbers = probability.numpy().copy()
    numbers[np.argsort(numbers)[: len(numbers) - k]] = 0
    return numbers / numbers.sum()
""",  # NumPy
    ],
    "3": [
        """
def caption_logprob(decoder, features, words):
    state, word, total = decoder.start(features), 0, 0.0
    for following in [*words, 1]:
        logits, state, _ = decoder.step(torch.tensor([word]), state)
        total += logits.log_softmax(-1)[0, following].item()
        word = following
    return total
""",  # step by step
        """
def caption_logprob(decoder, features, words):
    logits = decoder(features, torch.tensor([[0, *words]]))[0]
    targets = torch.tensor([*words, 1])
    return -torch.nn.functional.cross_entropy(logits, targets, reduction="sum")
""",
        """
def caption_logprob(decoder, features, words):
    targets = torch.tensor([[*words, 1]])
    inputs = torch.cat([torch.zeros(1, 1, dtype=torch.long), targets[:, :-1]], dim=1)
    logprobs = torch.log_softmax(decoder(features, inputs), dim=-1)
    return logprobs.gather(2, targets[..., None]).sum()
""",
        """
def caption_logprob(decoder, features, words):
    def rest(state, word, left):
        logits, state, _ = decoder.step(torch.tensor([word]), state)
        probability = logits[0].softmax(-1)
        if not left:
            return math.log(probability[1])
        return math.log(probability[left[0]]) + rest(state, left[0], left[1:])

    return rest(decoder.start(features), 0, words)
""",  # recursion
    ],
    "4": [
        """
def repeats(words, n):
    seen = set()
    for i in range(len(words) - n + 1):
        ngram = tuple(words[i : i + n])
        if ngram in seen:
            return True
        seen.add(ngram)
""",  # None is as good as False
        """
from collections import Counter


def repeats(words, n):
    counts = Counter(zip(*(words[i:] for i in range(n))))
    return max(counts.values(), default=0) > 1
""",
        """
def repeats(words, n):
    places = range(len(words) - n + 1)
    return any(words[i : i + n] == words[j : j + n] for i in places for j in places if i < j)
""",
        """
def repeats(words, n):
    if len(words) <= n:
        return False
    first, rest = words[:n], words[1:]
    if any(rest[i : i + n] == first for i in range(len(rest))):
        return True
    return repeats(rest, n)
""",  # recursion
        """
def repeats(words, n):
    places = np.array([words[i : i + n] for i in range(len(words) - n + 1)])
    return len(places) and len(np.unique(places, axis=0)) < len(places)
""",
        """
def repeats(words, n):
    ngrams = [tuple(words[i : i + n]) for i in range(len(words))]
    return len(set(ngrams)) < len(ngrams)
""",  # the short ones at the end differ in length, so from each other and from the rest
    ],
    "5": [
        """
def interval(values):
    n = len(values)
    means = sorted(sum(np.random.choice(values, n)) / n for _ in range(1000))
    return means[25], means[-26]
""",  # a loop, sorted
        """
def interval(values):
    numbers = torch.as_tensor(values)
    means = numbers[torch.randint(len(numbers), (4000, len(numbers)))].mean(dim=1)
    return means.quantile(torch.tensor([0.025, 0.975], dtype=means.dtype))
""",
        """
import random


def interval(values):
    values = values.tolist()
    means = [sum(random.choices(values, k=len(values))) / len(values) for _ in range(1000)]
    return [float(np.quantile(means, q)) for q in (0.025, 0.975)]
""",
        """
from scipy import stats


def interval(values):
    found = stats.bootstrap((values,), np.mean, n_resamples=1000, method="percentile")
    return tuple(found.confidence_interval)
""",
        """
def interval(values):
    rng = np.random.default_rng(5)
    counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=3000)
    return np.percentile(counts @ values / len(values), [2.5, 97.5])
""",  # how often each is drawn
    ],
    "6": [
        """
def consensus(captions):
    best, most = None, -1.0
    for i, caption in enumerate(captions):
        total = 0.0
        for j, other in enumerate(captions):
            if i != j:
                total += metrics.rouge_l([other], caption)
        if total > most:
            best, most = caption, total
    return best
""",
        """
def consensus(captions):
    scores = np.array([[metrics.rouge_l([b], a) for b in captions] for a in captions])
    np.fill_diagonal(scores, 0)
    return captions[scores.sum(axis=1).argmax()]
""",
        """
def consensus(captions):
    def mean(caption):
        return np.mean([metrics.rouge_l([other], caption) for other in captions])

    return max(captions, key=mean)
""",  # itself included, which adds 1 to all
        """
from collections import Counter


def consensus(captions):
    counts = Counter(captions)

    def agreement(a):
        return sum(n * metrics.rouge_l([b], a) for b, n in counts.items())

    return sorted(counts, key=agreement)[-1]
""",
    ],
    "7": [
        """
def covered(picture, box):
    x, y, width, height = box
    mean = tuple(round(c) for c in np.array(picture).mean(axis=(0, 1)))
    copy = picture.copy()
    copy.paste(mean, (x, y, x + width, y + height))
    return copy
""",
        """
from PIL import ImageDraw, ImageStat


def covered(picture, box):
    x, y, width, height = box
    mean = tuple(int(c) for c in ImageStat.Stat(picture).mean)
    copy = picture.copy()
    ImageDraw.Draw(copy).rectangle((x, y, x + width - 1, y + height - 1), fill=mean)
    return copy
""",
        """
def covered(picture, box):
    x, y, width, height = box
    copy = picture.copy()
    pixels = np.array(picture).reshape(-1, 3).tolist()
    mean = tuple(sum(p[c] for p in pixels) // len(pixels) for c in range(3))
    for row in range(y, y + height):
        for column in range(x, x + width):
            copy.putpixel((column, row), mean)
    return copy
""",  # pixel by pixel
        """
def covered(picture, box):
    pixels, (x, y, width, height) = torch.tensor(np.array(picture)), box
    mean = pixels.float().mean(dim=(0, 1)).round().byte()
    pixels[y : y + height, x : x + width] = mean
    return Image.fromarray(pixels.numpy())
""",
    ],
    "8": [
        """
class Vote:
    def __init__(self, first, second):
        self.decoders = first, second

    def start(self, features):
        states = [d.start(f) for d, f in zip(self.decoders, features)]
        self.sizes = [len(state) for state in states]
        return sum(states, ())

    def step(self, word, state):
        cut = self.sizes[0]
        found = [d.step(word, s) for d, s in zip(self.decoders, (state[:cut], state[cut:]))]
        logprobs = torch.stack([logits.log_softmax(-1) for logits, _, _ in found])
        mean = logprobs.logsumexp(0) - math.log(2)
        return mean, (*found[0][1], *found[1][1]), None
""",
        """
class Vote(torch.nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def start(self, features):
        one, other = self.first.start(features[0]), self.second.start(features[1])
        self.cut = len(one)
        return one + other

    def step(self, word, state):
        a, one, seen = self.first.step(word, state[: self.cut])
        b, other, looked = self.second.step(word, state[self.cut :])
        logits = torch.logaddexp(a.log_softmax(-1), b.log_softmax(-1))
        return logits, one + other, seen if looked is None else looked
""",  # up to a constant, which logits may have
        """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        second = self.second.start(features[1])
        self.parts = len(second)
        return (*second, *self.first.start(features[0]))

    def step(self, word, state):
        state = list(state)
        b, second, _ = self.second.step(word, tuple(state[: self.parts]))
        a, first, _ = self.first.step(word, tuple(state[self.parts :]))
        mean = 0.5 * (torch.exp(a.log_softmax(1)) + torch.exp(b.log_softmax(1)))
        return torch.log(mean + 1e-12), tuple(second) + tuple(first), None
""",  # the second one's state first
    ],
    "9": [
        """
def auc(above, below):
    return np.mean([(a > b) + 0.5 * (a == b) for a in above for b in below])
""",
        """
def auc(above, below):
    gaps = torch.tensor(above)[:, None] - torch.tensor(below)
    return (gaps.sign() + 1).mean() / 2
""",  # a table of all pairs
        """
from scipy import stats


def auc(above, below):
    return stats.mannwhitneyu(above, below).statistic / (len(above) * len(below))
""",
        """
def auc(above, below):
    below = np.sort(below)
    fewer = np.searchsorted(below, above, side="left")
    at_most = np.searchsorted(below, above, side="right")
    return float((fewer + at_most).mean() / 2 / len(below))
""",  # by sorting
        """
def auc(above, below):
    if not above:
        return 0.0
    first = sum(1.0 if above[0] > b else 0.5 if above[0] == b else 0.0 for b in below)
    rest = auc(above[1:], below) * (len(above) - 1)
    return (first / len(below) + rest) / len(above)
""",  # recursion
    ],
    "10": [
        """
def sides(attention):
    rows = []
    for weights in attention.tolist():
        left = right = 0.0
        for place, weight in enumerate(weights):
            column = 10 - place % 11 if place // 121 % 2 else place % 11
            if column < 5:
                left += weight
            elif column > 5:
                right += weight
        rows.append([left, right])
    return rows
""",  # a list, place by place
        """
def sides(attention):
    columns = attention.unflatten(1, (2, 2, 11, 11)).sum(dim=(1, 3))
    columns = columns[:, 0] + columns[:, 1].flip(1)
    return torch.stack([columns[:, :5].sum(1), columns[:, 6:].sum(1)], dim=1)
""",
        """
def sides(attention):
    numbers = attention.numpy().reshape(-1, 4, 11, 11)
    light = numbers[:, ::2].sum(axis=1) + numbers[:, 1::2].sum(axis=1)[..., ::-1]
    left, middle = light[:, :, :5].sum(axis=(1, 2)), light[:, :, 5].sum(axis=1)
    return np.stack([left, 1 - left - middle], axis=1)
""",  # NumPy
        """
def sides(attention):
    place = torch.arange(484)
    column = torch.where(place // 121 % 2 == 0, place % 11, 10 - place % 11)
    return attention @ torch.stack([column < 5, column > 5], dim=1).float()
""",  # a product with a mask
    ],
}
